"""What a run over many frames adds up to: times, class shares, scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from camss_ros.model.camseg import LabelClass


class FrameStatistics:
    """Collects frame by frame; `report()` sums up."""

    def __init__(self, classes: Sequence[LabelClass]) -> None:
        self._classes = classes
        self._pixels = np.zeros(256, np.int64)
        self._timings: defaultdict[str, list[float]] = defaultdict(list)
        self.frames = 0

    def add_timings(self, timings: Mapping[str, float]) -> None:
        """Seconds of each stage of one frame."""
        for stage, seconds in timings.items():
            self._timings[stage].append(seconds)

    def add_labels(self, labels: np.ndarray, truth: np.ndarray | None) -> None:
        """One frame's labels and, where known, the true ones: uint8 [H, W], 255 void."""
        self.frames += 1
        self._pixels += np.bincount(labels.ravel(), minlength=256)

    def report(self) -> dict[str, Any]:
        """`stages_ms`: milliseconds of each stage (mean, p50, p95); `class_share`: share of all
        pixels by class name, 0 to 1."""
        total = max(1, int(self._pixels.sum()))
        return {
            "stages_ms": {stage: milliseconds(seconds) for stage, seconds in self._timings.items()},
            "class_share": {c.name: int(self._pixels[c.id]) / total for c in self._classes},
        }


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Mean, median and 95th percentile of durations, in milliseconds."""
    values = np.asarray(seconds) * 1e3
    p50, p95 = np.percentile(values, (50, 95))
    return {"mean": float(values.mean()), "p50": float(p50), "p95": float(p95)}
