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
        return self.drops < MAX_DROPS and not self.publisher_fell_behind

    @property
    def publisher_fell_behind(self) -> bool:
        return self.sent < _KEPT_UP * self.asked


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

    def limit() -> str:
        failed = [trial for trial in trials if not trial.passed]
        if not failed:
            return "highest rate"
        # what stopped the search is the failure at the lowest rate
        nearest = min(failed, key=lambda trial: trial.asked)
        return "publisher" if nearest.drops < MAX_DROPS else "drops"

    if not works(lowest):
        return HighestRate(None, limit(), tuple(trials))
    good, bad = lowest, float("inf")
    while bad == float("inf") and good < highest:
        rate = min(2 * good, highest)
        if works(rate):
            good = rate
        else:
            bad = rate
    while bad != float("inf") and bad - good > _RESOLUTION * good:
        middle = (good + bad) / 2
        if works(middle):
            good = middle
        else:
            bad = middle
    # a short trial may pass by luck
    while not works(good, confirm=True):
        good *= 1 - _RESOLUTION
        if good < lowest:
            return HighestRate(None, limit(), tuple(trials))
    return HighestRate(trials[-1], limit(), tuple(trials))
