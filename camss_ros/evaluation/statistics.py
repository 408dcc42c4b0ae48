"""Statistics of a run over many frames: times, class shares, scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.images.label_class import LabelClass


class FrameStatistics:
    """Collects frame by frame; `report()` sums up.

    Args:
        classes: that the labels and the true ones are numbered by.

    Attributes:
        frames: that labels were added of.
    """

    def __init__(self, classes: Sequence[LabelClass]) -> None:
        self._classes = classes
        self._accumulator = ScoreAccumulator(len(classes))
        self._timings: defaultdict[str, list[float]] = defaultdict(list)
        self.frames = 0

    def add_timings(self, timings: Mapping[str, float]) -> None:
        """Seconds of each stage of one frame."""
        for stage, seconds in timings.items():
            self._timings[stage].append(seconds)

    def add_labels(self, labels: np.ndarray, truth: np.ndarray | None) -> None:
        """One frame's labels and, where known, the true ones: uint8 [H, W], 255 void."""
        self.frames += 1
        if truth is None:
            self._accumulator.add_unlabelled(labels)
        else:
            self._accumulator.add(truth, labels)

    def report(self) -> dict[str, Any]:
        """JSON values.

        `stages_ms`: milliseconds of each stage (mean, p50, p95). `class_share`: share of all
        pixels by class name. `scores`: 0 to 1, null where a class does not occur; null altogether
        without labels.
        """
        return {
            "stages_ms": {stage: milliseconds(seconds) for stage, seconds in self._timings.items()},
            "class_share": self._accumulator.class_share(self._classes),
            "scores": self._scores() if self._accumulator.frames else None,
        }

    def _scores(self) -> dict[str, Any]:
        scores = self._accumulator.report(self._classes)
        chosen = ("miou", "per_class_iou", "precision_void_excluded", "pixel_accuracy")
        return {"frames": self._accumulator.frames, **{name: scores[name] for name in chosen}}


def mean_rate(stamps: Sequence[int]) -> float | None:
    """Mean rate in Hz of stamps in ns; None for fewer than two."""
    span = (max(stamps) - min(stamps)) / 1e9 if stamps else 0.0
    return (len(stamps) - 1) / span if span > 0 else None


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Mean, median and 95th percentile of durations, in milliseconds."""
    values = np.asarray(seconds) * 1e3
    p50, p95 = np.percentile(values, (50, 95))
    return {"mean": float(values.mean()), "p50": float(p50), "p95": float(p95)}
