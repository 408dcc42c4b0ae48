"""Frames that show which values the layers of a network take: int8 has no room for more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from camss_ros.inference.graphs.cache import cache_key, cached_file


class CalibrationFrames(Protocol):
    """Iterating gives the frames, uint8 [H, W, 3] RGB of any sizes, each time anew.

    Attributes:
        name: tells them from others in the cache.
    """

    name: str

    def __iter__(self) -> Iterator[np.ndarray]: ...


def calibration_file(frames: CalibrationFrames) -> Path:
    """The frames in the cache, for the process that builds a graph; taken once."""

    def write(path: Path) -> None:
        np.savez(path, *frames)

    return cached_file(f"calibration-{cache_key({'calibration': frames.name})}.npz", write)


def read_calibration(path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames to calibrate on, and those (every seventh) to see the result on, uint8 [H, W, 3] RGB.

    A single frame has to do for both.
    """
    with np.load(path) as archive:
        frames = [archive[name] for name in archive.files]
    held_out = frames[::7]
    return [frame for place, frame in enumerate(frames) if place % 7] or held_out, held_out
