"""How long each frame took: a file of one JSON line a frame, which a killed run may leave torn."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np


class TimingsFile:
    """Appends to the file, after what earlier runs have left in it; to be closed.

    with closing(TimingsFile(path)) as timings:
        timings.add("000001", {"total": 0.25})
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        end = self._file.tell()
        start = max(0, end - 2**16)  # far longer than a line
        self._file.seek(start)
        self._file.truncate(start + self._file.read().rfind(b"\n") + 1)

    def add(self, name: str, seconds: Mapping[str, float]) -> None:
        """The seconds of each stage of one frame."""
        self._file.write(json.dumps({"name": name, **seconds}).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing can be added any more."""
        self._file.close()


def read_timings(path: Path) -> dict[str, np.ndarray]:
    """Seconds of each stage, float64 [frames]; lines that are damaged are passed over.

    A frame that was in work when a run was killed is there once for each time it was segmented.
    """
    stages: dict[str, array[float]] = {}
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                try:
                    content = json.loads(line)
                    seconds = {k: float(v) for k, v in content.items() if k != "name"}
                except (ValueError, TypeError, AttributeError):
                    continue
                for stage, value in seconds.items():
                    stages.setdefault(stage, array("d")).append(value)
    return {stage: np.array(values) for stage, values in stages.items()}
