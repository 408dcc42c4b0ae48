"""The conditions that robustness is measured in: frames without and with each corruption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camss_ros.evaluation.evaluate import LabeledFrames
from camss_ros.lab.corruptions import CORRUPTIONS, Corruption, corrupt
from camss_ros.lab.imagenet_c import load_package
from camss_ros.lab.viewpoints import VIEWPOINT_UNITS, VIEWPOINTS, ViewpointFrames, view_shift

GROUPS = ("paper", "imagenet_c", "weather", "viewpoint")
CLEAN = "clean"


@dataclass(frozen=True)
class Condition:
    """Frames to be scored.

    Attributes:
        group: of `GROUPS`; "data" for the clean data set, which all but viewpoints refer to.
        corruption: its name, or "clean".
        level: from 1; 0 where clean.
        value: of the corruption's knob; NaN where clean.
        setting: the same for people.
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

    Raises RuntimeError where the package of ImageNet-C is asked for and missing.
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
    for kind, values in VIEWPOINTS.items():
        for level, value in enumerate(values, 1):
            setting = f"{value:+g} {VIEWPOINT_UNITS[kind]}"
            frames = ViewpointFrames(count, view_shift(kind, value))
            conditions.append(Condition(group, kind, level, value, setting, frames))
    return conditions
