"""The highest rate that a system keeps up with, in the method of NVIDIA's ros2_benchmark: halve the
interval between a rate that works and one that does not, then confirm the rate that was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_DROPS = 0.05
_KEPT_UP = 0.95  # of the asked rate, for a publisher
_RESOLUTION = 0.05  # of a rate


@dataclass(frozen=True)
class RateTrial:
    """Result of sending images at a rate.

    Attributes:
        asked, sent: images a second that were to be sent, and that were.
        drops: share of the sent images for which no result came.
    """

    asked: float
    sent: float
    drops: float

    @property
    def passed(self) -> bool:
        """Whether images were sent at that rate and fewer than 5 % got lost."""
        return self.drops < MAX_DROPS and self.sent >= _KEPT_UP * self.asked


@dataclass(frozen=True)
class HighestRate:
    """Result of a search.

    Attributes:
        trial: the confirmed one; None where not even the lowest rate worked.
        limited_by: "drops", "publisher", or "highest rate" where that works too.
        trials: all of them, in order.
    """

    trial: RateTrial | None
    limited_by: str
    trials: tuple[RateTrial, ...]


def find_highest_rate(
    try_rate: Callable[[float, bool], RateTrial], lowest: float, highest: float
) -> HighestRate:
    """Search between two rates, in images a second.

    Args:
        try_rate: sends images at a rate; the second argument asks for a long trial, to confirm.

    Raises:
        ValueError: not 0 < lowest < highest.
    """
    if not 0 < lowest < highest:
        raise ValueError(f"rates {lowest} to {highest}: expected 0 < lowest < highest")
    trials: list[RateTrial] = []

    def works(rate: float, confirm: bool = False) -> bool:
        trials.append(try_rate(rate, confirm))
        return trials[-1].passed

    def result(trial: RateTrial | None) -> HighestRate:
        failed = [each for each in trials if not each.passed]
        if not failed:
            return HighestRate(trial, "highest rate", tuple(trials))
        # what stopped the search is the failure at the lowest rate
        nearest = min(failed, key=lambda each: each.asked)
        limit = "publisher" if nearest.drops < MAX_DROPS else "drops"
        return HighestRate(trial, limit, tuple(trials))

    if not works(lowest):
        return result(None)
    good, bad = lowest, float("inf")
    while good < highest and bad - good > _RESOLUTION * good:
        rate = min(2 * good, highest) if bad == float("inf") else (good + bad) / 2
        if works(rate):
            good = rate
        else:
            bad = rate
    # a short trial may pass by luck
    while not works(good, confirm=True):
        good *= 1 - _RESOLUTION
        if good < lowest:
            return result(None)
    return result(trials[-1])
