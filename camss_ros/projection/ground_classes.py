"""What classes say about the ground: which can be driven on, and how probably it is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.images.label_sets import LabelSet

UNKNOWN = -1
"""Occupancy of a cell about which nothing is known, as in nav_msgs/OccupancyGrid."""


def class_ids(names: Sequence[str], label_set: LabelSet, parameter: str) -> list[int]:
    """Ids of class names; empty names are left out.

    Args:
        parameter: that the names are of, for the message.

    Raises:
        ValueError: one is not in the label set.
    """
    known = {each.name: each.id for each in label_set.classes}
    found = [name for name in names if name]
    for name in found:
        if name not in known:
            raise ValueError(
                f"{parameter}: {name!r} is no class of {label_set.name}: expected of "
                f"{', '.join(known)}"
            )
    return [known[name] for name in found]


@dataclass(frozen=True)
class GroundClasses:
    """The classes of a label set, seen as ground.

    Attributes:
        count: of classes in the label set.
        drivable: ids of the ground that a vehicle may drive on.
        flat: ids of other ground (a pavement, grass): not free, but it hides nothing.
    """

    count: int
    drivable: tuple[int, ...]
    flat: tuple[int, ...] = ()

    @cached_property
    def occupancy(self) -> np.ndarray:
        """int8 [256, 256] by label and confidence: expected occupancy in percent, -1 for void.

        The probability that the label does not have is spread evenly over the other classes; what
        is not drivable is occupied.
        """
        confidence = np.arange(256) / 255
        rest = (1 - confidence) / max(1, self.count - 1)
        drivable = len(self.drivable)
        table = np.full((256, 256), UNKNOWN, np.int8)
        for label in range(self.count):
            if label in self.drivable:
                occupied = rest * (self.count - drivable)
            else:
                occupied = 1 - rest * drivable
            table[label] = np.round(100 * np.clip(occupied, 0, 1))
        return table

    @cached_property
    def standing(self) -> np.ndarray:
        """bool [256]: labels of what stands on the ground and hides what is behind it."""
        table = np.zeros(VOID + 1, bool)
        table[: self.count] = True
        table[[*self.drivable, *self.flat]] = False
        return table
