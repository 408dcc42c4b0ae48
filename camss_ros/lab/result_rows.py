"""The rows of a study on disk: each is stored as soon as it is there, and is not computed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from camss_ros.evaluation.result_folder import begin_results, write_json


class ResultRows:
    """The finished rows of one study, by key, in `path`.

    Args:
        path: JSON file, made with its folder if missing.
        settings: what the rows depend on, JSON-able.

    Raises:
        OutputMismatchError: `path` holds the rows of other settings.
        OSError: it can't be written.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        begin_results(path, settings, ())
        self._path = path
        self._settings = settings
        self._rows: dict[str, dict[str, Any]] = json.loads(path.read_text()).get("rows", {})

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Store a finished row, JSON-able."""
        self._rows[key] = row
        self._write(complete=False)

    def finish(self) -> None:
        """Note that all rows are there."""
        self._write(complete=True)

    def _write(self, complete: bool) -> None:
        content = {"complete": complete, "settings": self._settings, "rows": self._rows}
        write_json(self._path, content)
