"""From numbers to OK, WARN or ERROR: what a second of work looked like."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from camss_ros.nodes.parameter_table import ParameterValues

WARN, ERROR = 1, 2  # diagnostic_msgs/DiagnosticStatus, as numbers
# An image whose stamp is older than that, or from the future, tells nothing about latency: a bag
# that is played back, a clock that was set, a driver without stamps.
PLAUSIBLE_AGE = 60.0  # s
_WINDOW = 256  # frames
_LONGEST_WORK = 30.0  # s that an image may be in work; more is a device that hangs


@dataclass(frozen=True)
class Observation:
    """What happened since the last report.

    Attributes:
        received, unusable: images; unusable ones were rejected or failed.
        input_rate, output_rate: images received and segmented a second, of the last few.
        latency: p95, s; nan without a frame.
        silence: since the last image, or since activation, s.
        silence_reason: asked from the ROS graph; empty while it is not needed.
        memory_measure: what is done without after the memory ran out.
        out_of_memory: the last frame failed for lack of memory.
        over_budget: the latency budget is missed with the least setting too.
        time_in_work: since the images in work were taken, s.
        token_distance, unsure_share: median over the last images that were looked at, as of
            `inference/drift.py`; nan without.
    """

    received: int
    input_rate: float
    output_rate: float
    unusable: int
    latency: float
    silence: float
    silence_reason: str = ""
    memory_measure: str = ""
    out_of_memory: bool = False
    over_budget: bool = False
    time_in_work: float = 0.0
    token_distance: float = math.nan
    unsure_share: float = math.nan


def assess(
    observed: Observation, limits: ParameterValues | Mapping[str, Any]
) -> list[tuple[int, str]]:
    """(level, text) of everything that is not as it should be.

    limits: the parameters warn_* and error_* of the node; 0 switches one off, but for *_unusable.
    """
    found: list[tuple[int, str]] = []

    def check(name: str, is_beyond: Callable[[float], bool], text: str) -> None:
        for level, prefix in ((ERROR, "error"), (WARN, "warn")):
            if is_beyond(limits[f"{prefix}_{name}"]):
                found.append((level, text))
                return

    if observed.out_of_memory:
        remedy = "free some, or choose a smaller model or output_size, and call ~/reload_model"
        found.append((ERROR, f"the device is out of memory: {remedy}"))
    elif observed.memory_measure:
        found.append((WARN, f"after running out of memory: {observed.memory_measure}"))
    if observed.time_in_work >= _LONGEST_WORK:
        text = f"an image has been in work for {observed.time_in_work:.0f} s"
        found.append((ERROR, f"{text}: the device hangs, or is too slow for this model"))
    if observed.over_budget:
        found.append((WARN, "latency_budget_ms is missed with the least setting too"))
    if observed.unusable:
        share = observed.unusable / max(1, observed.received)
        text = f"{observed.unusable} images could not be segmented"
        check("unusable", lambda limit: limit <= share, text)
    for value, what in (
        (observed.token_distance, "distance of image tokens"),
        (observed.unsure_share, "share of unsure pixels"),
    ):
        if 0 < limits["warn_drift"] < value:
            text = f"{what} {value:.2f} times the 99th percentile of the training frames"
            found.append((WARN, f"images are unlike those trained on: {text}"))
    silence = f"no image for {observed.silence:.1f} s: {observed.silence_reason}"
    check("no_image", lambda limit: 0 < limit <= observed.silence, silence)
    slow = f"latency {observed.latency:.3f} s (p95)"
    check("latency", lambda limit: 0 < limit <= observed.latency, slow)
    if observed.received:
        rate = observed.output_rate
        check("rate", lambda limit: rate < limit, f"{rate:.1f} label images a second")
    return found


class Window:
    """The last values of something. Thread-safe.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int = _WINDOW) -> None:
        self._lock = threading.Lock()
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        """Keep a value, in place of the oldest."""
        with self._lock:
            self._values.append(value)

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._values.clear()

    def percentile(self, percent: float, least: int = 1) -> float:
        """nan with less than `least` values."""
        with self._lock:
            values = list(self._values)
        return float(np.percentile(values, percent)) if len(values) >= least else math.nan


def latency(now: int, stamp: int, arrival: float) -> float:
    """Seconds from the stamp of an image until `now` (ns of the same clock), where that is
    plausible; otherwise since `arrival` (`time.monotonic()`)."""
    age = (now - stamp) / 1e9
    return age if 0.0 <= age < PLAUSIBLE_AGE else time.monotonic() - arrival
