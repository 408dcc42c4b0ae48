"""Which frames follow each other: whether one may begin from what the one before has left."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

State = TypeVar("State")

MAX_GAP = 0.5  # s between the stamps of two frames of a clip
# Mean absolute difference of the pixels of two thumbnails, 0-255, from which on the scene is
# another one. Neighbours on CamVid val (15 Hz) differ by up to 10, frames 0.27 s apart by up to 19;
# frames of two of CamVid's drives by more than 28 in 99 pairs of 100.
SCENE_CHANGE = 20.0

_ROWS, _COLUMNS = 24, 32  # of a thumbnail
_PROBES = 4  # rows and columns of pixels that are averaged for one of the thumbnail's


@dataclass(frozen=True)
class _Frame:
    """`kind`: what must be the same of two frames for the state of one to fit the other."""

    stamp: float | None
    kind: Hashable
    thumbnail: np.ndarray


class TemporalState(Generic[State]):
    """The state of the last frame, given to the next one if it continues the same clip.

    A frame does not where its size or `kind` differ, where its stamp is before the last one's or
    more than `MAX_GAP` after it, where only one of the two has a stamp, and where the picture is
    another (`SCENE_CHANGE`). All of this is decided on the frame in main memory, so that a GPU is
    not waited for.
    """

    def __init__(self) -> None:
        self._current: _Frame | None = None
        self._last: _Frame | None = None
        self._state: State | None = None

    def begin(self, image: np.ndarray, stamp: float | None, kind: Hashable) -> State | None:
        """What a frame may begin from; None if all of it begins anew.

        Args:
            image: uint8 [H, W, 3].
            stamp: seconds; None if the frame follows the last one in any case.
            kind: see `TemporalState`.
        """
        frame = self._current = _Frame(stamp, (kind, image.shape), thumbnail(image))
        continues = self._last is not None and _continues(self._last, frame)
        return self._state if continues else None

    def keep(self, state: State | None) -> None:
        """Keep what the frame given to `begin` leaves for the next one."""
        self._last, self._state = self._current, state


def _continues(last: _Frame, frame: _Frame) -> bool:
    if last.kind != frame.kind or (last.stamp is None) != (frame.stamp is None):
        return False
    elapsed = 0.0
    if last.stamp is not None and frame.stamp is not None:
        elapsed = frame.stamp - last.stamp
    if not 0.0 <= elapsed <= MAX_GAP:  # 0: a driver without a clock gives every frame one stamp
        return False
    return float(np.abs(frame.thumbnail - last.thumbnail).mean()) < SCENE_CHANGE


def thumbnail(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [24, 32, 3], each the mean of 16 pixels spread evenly."""
    rows = _places(image.shape[0], _ROWS)
    columns = _places(image.shape[1], _COLUMNS)
    probes = image[rows[:, None], columns].reshape(_ROWS, _PROBES, _COLUMNS * _PROBES * 3)
    # in two sums of 16 bits: half the time of a mean over both axes
    in_column = probes.sum(axis=1, dtype=np.uint16).reshape(_ROWS, _COLUMNS, _PROBES, 3)
    return in_column.sum(axis=2, dtype=np.uint16).astype(np.float32) / _PROBES**2


def _places(length: int, cells: int) -> np.ndarray:
    count = cells * _PROBES
    return (np.arange(count) * length + length // 2) // count
