"""The rows of a study on disk: each is stored as soon as it is there, and is not computed again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from camss_ros.evaluation.result_folder import begin_results, write_json
from camss_ros.model.schedule import SamplingOptions


class ResultRows:
    """The finished rows of one study, by key, in `path`.

    Args:
        path: JSON file, made with its folder if missing.
        settings: what the rows depend on, JSON-able.

    Raises OutputMismatchError where `path` holds the rows of other settings, OSError where it
    can't be written.
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

    def __iter__(self) -> Iterator[str]:
        """The keys of the finished rows, in the order in which they came."""
        return iter(self._rows)

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Store a finished row, JSON-able."""
        self._rows[key] = row
        self._write(complete=False)

    def score_each(
        self,
        samplings: Mapping[str, SamplingOptions],
        frames: int,
        score: Callable[[SamplingOptions, Callable[[int], None]], dict[str, Any]],
        progress: Callable[[int, int], None],
    ) -> None:
        """Add every row that is not there yet, and finish.

        Args:
            samplings: how the frames of each row are drawn, by its key.
            frames: that a row is scored on.
            score: makes a row; its second argument is to be told the frames done.
            progress: told the frames done and their number, over all rows.
        """
        total = len(samplings) * frames
        for index, (key, sampling) in enumerate(samplings.items()):
            before = index * frames
            if key not in self:
                self.add(key, score(sampling, lambda done, at=before: progress(at + done, total)))  # type: ignore[misc]
            progress(before + frames, total)
        self.finish()

    def finish(self) -> None:
        """Note that all rows are there."""
        self._write(complete=True)

    def _write(self, complete: bool) -> None:
        content = {"complete": complete, "settings": self._settings, "rows": self._rows}
        write_json(self._path, content)
