"""The synthetic street from cameras that are mounted otherwise, with exact labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from camss_ros.street.synthetic import SyntheticStreet, ViewShift

VIEWPOINTS: Mapping[str, tuple[float, ...]] = {
    "height": (-0.8, -0.4, 0.6, 1.2, 2.4),
    "pitch": (-12, -6, 6, 12),
    "roll": (-20, -10, 10, 20),
    "lateral": (-2.5, -1.25, 1.25, 2.5),
}
"""By kind, a field of `ViewShift`: its values; the usual camera is 1.4 m high, in its lane."""

VIEWPOINT_UNITS: Mapping[str, str] = {
    "height": "m", "pitch": "degrees", "roll": "degrees", "lateral": "m"
}  # fmt: skip

_FRAMES_APART = 37  # of one street: some 20 m


class ViewpointFrames:
    """Frames of several streets by day, all seen with one shift.

    `frames[i]` is (image uint8 [360, 480, 3] RGB, label uint8 [360, 480] of CamVid 11 ids, name);
    street and place of a number are the same for every shift.
    """

    def __init__(self, count: int, shift: ViewShift = ViewShift(), streets: int = 5) -> None:
        self._count, self._shift, self._streets = count, shift, min(streets, count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        if not 0 <= index < self._count:
            raise IndexError(f"frame {index} of {self._count}")
        seed = index % self._streets
        place = index // self._streets * _FRAMES_APART
        return *_street(seed).frame(place, self._shift), f"street{seed}_{place}"


@lru_cache(maxsize=8)  # shared by all shifts
def _street(seed: int) -> SyntheticStreet:
    return SyntheticStreet(seed)


def view_shift(kind: str, value: float) -> ViewShift:
    """The shift of one kind of `VIEWPOINTS`."""
    return replace(ViewShift(), **{kind: value})
