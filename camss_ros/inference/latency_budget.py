"""Keeps the latency under a budget by sampling less, and more again where there is time for it.

`reduced_settings` lists the settings from what is asked for to the least; `LatencyBudget` chooses
among them from the times of the frames. It knows no clock and no network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from camss_ros.inference.network_size import nearest_size
from camss_ros.model.schedule import SamplingOptions

MAX_SETTINGS = 8
SIZE_SHARES = (0.75, 0.6, 0.5)  # of the sides of the working size

WINDOW = 60  # frames at one setting that are looked at
# So many late ones among them are the 5 % that p95 allows.
TOO_LATE = 3
# A setting is entered where its predicted p95 is below this share of the budget, and left when its
# measured one is above all of it: between the two nothing changes.
MARGIN = 0.85
MAX_HOLD = 32 * WINDOW  # frames


@dataclass(frozen=True)
class Setting:
    """What decides on the time of a frame: sampling, and the working (height, width)."""

    sampling: SamplingOptions
    size: tuple[int, int]

    def __str__(self) -> str:
        height, width = self.size
        return f"steps {self.sampling.steps}, samples {self.sampling.samples}, {width} x {height}"


@lru_cache(maxsize=8)
def reduced_settings(
    sampling: SamplingOptions, size: tuple[int, int], smaller: bool = False
) -> tuple[Setting, ...]:
    """Settings from the one asked for to the least, each faster than the one before.

    First fewer steps, which cost the least in the scores, then fewer samples, and where `smaller`
    a smaller working size. At most `MAX_SETTINGS`; the first and the last are always among them.
    """
    settings = [Setting(sampling, size)]
    for name in ("steps", "samples"):
        while (count := getattr(sampling, name)) > 1:
            sampling = replace(sampling, **{name: count // 2})
            settings.append(Setting(sampling, size))
    if smaller:
        settings += [Setting(sampling, nearest_size(size, share)) for share in SIZE_SHARES]
    settings = list(dict.fromkeys(settings))  # a small size may not get smaller
    if len(settings) <= MAX_SETTINGS:
        return tuple(settings)
    last = len(settings) - 1
    return tuple(settings[round(i * last / (MAX_SETTINGS - 1))] for i in range(MAX_SETTINGS))


class LatencyBudget:
    """Chooses settings so that the 95th percentile of the latency stays under a budget.

    Too many late frames in the window lower the setting at once, to the first whose predicted p95
    fits. A full window whose predicted p95 at the next higher setting fits raises it by one; if
    that turns out wrong, the next try waits twice as long, up to `MAX_HOLD`.

    The prediction scales the stages: tokens and transformer by the area, decode also by the
    samples, sampling also by the steps. What the graph of a whole network would gain is unknown,
    so that with one the settings go down by one, and up by trial.

    Attributes:
        exhausted: at the least setting too many frames are late still.
    """

    def __init__(self) -> None:
        self.exhausted = False
        self._budget = 0.0
        self._settings: tuple[Setting, ...] = ()
        self._level = self._since = 0  # the setting in use, and frames with it
        self._raised = False  # from a lower one, and not yet for as long as `_hold`
        self._hold = WINDOW
        self._frames: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=WINDOW)

    def choose(self, budget: float, settings: Sequence[Setting]) -> Setting:
        """The setting for the next frame.

        Args:
            budget: seconds, above 0.
            settings: from the one asked for to the least; others, or another budget, start over.
        """
        if budget != self._budget or tuple(settings) != self._settings:
            self._budget, self._settings = budget, tuple(settings)
            self.exhausted, self._hold = False, WINDOW
            self._go_to(0)
        return self._settings[self._level]

    def observe(self, seconds: float, timings: Mapping[str, float]) -> None:
        """A frame with the chosen setting is done.

        Args:
            seconds: its latency.
            timings: seconds of its stages, as `Segmentation.timings`.
        """
        self._frames.append((seconds, timings))
        self._since += 1
        late = sum(each > self._budget for each, _ in self._frames)
        if self._level == len(self._settings) - 1 and len(self._frames) == WINDOW:
            self.exhausted = late >= TOO_LATE
        if late >= TOO_LATE:
            self._lower()
        elif self._since >= self._hold and self._since % WINDOW == 0:
            if self._raised:  # it has stood the test
                self._raised, self._hold = False, WINDOW
            if self._level > 0 and self._fits(self._level - 1):
                self._go_to(self._level - 1, raised=True)

    def _lower(self) -> None:
        lower = range(self._level + 1, len(self._settings))
        if not lower:
            self.exhausted = True
            return
        if self._raised:
            self._hold = min(2 * self._hold, MAX_HOLD)
        if any("network" in timings for _, timings in self._frames):
            self._go_to(lower[0])
        else:
            self._go_to(next((level for level in lower if self._fits(level)), lower[-1]))

    def _go_to(self, level: int, raised: bool = False) -> None:
        self._level, self._raised = level, raised
        self._since = 0
        self._frames.clear()
        if level < len(self._settings) - 1:
            self.exhausted = False

    def _fits(self, level: int) -> bool:
        now, then = self._settings[self._level], self._settings[level]
        predicted = [predict(seconds, timings, now, then) for seconds, timings in self._frames]
        return float(np.percentile(predicted, 95)) < MARGIN * self._budget


def predict(seconds: float, timings: Mapping[str, float], now: Setting, then: Setting) -> float:
    """The latency that a frame of `now` would have had with `then`; see `LatencyBudget`."""
    area = (then.size[0] * then.size[1]) / (now.size[0] * now.size[1])
    samples = then.sampling.samples / now.sampling.samples
    steps = then.sampling.steps / now.sampling.steps
    factors = {
        "tokens": area,
        "transformer": area,
        "sampling": area * samples * steps,
        "decode": area * samples,
        "network": area,
    }
    return seconds + sum(timings.get(name, 0.0) * (f - 1) for name, f in factors.items())
