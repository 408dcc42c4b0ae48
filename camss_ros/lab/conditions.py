"""The conditions that robustness is measured in: frames with and without each corruption, and the
synthetic street from cameras that are mounted otherwise, with exact labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from camss_ros.evaluation.evaluate import LabeledFrames
from camss_ros.lab.corruptions import CORRUPTIONS, Corruption, corrupt
from camss_ros.lab.imagenet_c import load_package
from camss_ros.street.synthetic import SyntheticStreet, ViewShift

VIEWPOINTS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "height": ("m", (-0.8, -0.4, 0.6, 1.2, 2.4)),
    "pitch": ("degrees", (-12, -6, 6, 12)),
    "roll": ("degrees", (-20, -10, 10, 20)),
    "lateral": ("m", (-2.5, -1.25, 1.25, 2.5)),
}
"""By kind, a field of `ViewShift`: unit and values; the usual camera is 1.4 m high, in its lane."""

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


_street = lru_cache(maxsize=8)(SyntheticStreet)  # by seed, shared by all shifts


GROUPS = ("paper", "paper_scaled", "imagenet_c", "weather", "viewpoint")
CLEAN = "clean"


@dataclass(frozen=True)
class Condition:
    """Frames to be scored.

    Attributes:
        group: of `GROUPS`; "data" for the clean data set, which all but viewpoints refer to.
        corruption: its name, or "clean".
        level: from 1; 0 where clean.
        value: of the corruption's knob; NaN where clean.
        setting: the value as text, with its unit.
        frames: (image, label, name) by index.
    """

    group: str
    corruption: str
    level: int
    value: float
    setting: str
    frames: LabeledFrames

    @property
    def key(self) -> str:
        """Names the condition, in file names too."""
        return f"{self.group}-{self.corruption}-{self.level}"


class CorruptedFrames:
    """Frames with one corruption at one level; the labels stay."""

    def __init__(
        self, frames: LabeledFrames, corruption: Corruption, level: int, seed: int
    ) -> None:
        self._frames, self._corruption, self._level, self._seed = frames, corruption, level, seed

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        image, label, name = self._frames[index]
        return corrupt(image, self._corruption, self._level, name, self._seed), label, name


def data_conditions(frames: LabeledFrames, groups: tuple[str, ...], seed: int) -> list[Condition]:
    """The clean frames and every corruption of the groups at every level.

    Args:
        groups: some of `GROUPS`; "viewpoint" has no corruption of frames.
        seed: of the corruptions.

    Raises:
        CamssError: the package of ImageNet-C is needed and missing.
    """
    if "imagenet_c" in groups:
        load_package()  # now, not after hours
    conditions = [Condition("data", CLEAN, 0, float("nan"), "", frames)]
    for corruption in CORRUPTIONS.values():
        if corruption.group in groups:
            levels = zip(corruption.values, corruption.settings, strict=True)
            conditions += [
                Condition(
                    corruption.group, corruption.name, level, value, setting,
                    CorruptedFrames(frames, corruption, level, seed),
                )
                for level, (value, setting) in enumerate(levels, 1)
            ]  # fmt: skip
    return conditions


def viewpoint_conditions(count: int) -> list[Condition]:
    """`count` frames of the synthetic street as usual and with each shift of the camera."""
    group = "viewpoint"
    conditions = [Condition(group, CLEAN, 0, float("nan"), "", ViewpointFrames(count))]
    for kind, (unit, values) in VIEWPOINTS.items():
        for level, value in enumerate(values, 1):
            setting = f"{value:+g} {unit}"
            frames = ViewpointFrames(count, ViewShift(**{kind: value}))
            conditions.append(Condition(group, kind, level, value, setting, frames))
    return conditions
