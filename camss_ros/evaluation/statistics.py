"""What a run over many frames adds up to: times, class shares, scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camss_ros.evaluation.metrics import ConfusionMatrix
from camss_ros.images.label_class import LabelClass


class FrameStatistics:
    """Collects frame by frame; `report()` sums up.

    `classes`: the model's, which labels are numbered by as well.
    """

    def __init__(self, classes: Sequence[LabelClass]) -> None:
        self._classes = classes
        self._pixels = np.zeros(256, np.int64)
        self._confusion = ConfusionMatrix(len(classes))
        self._timings: defaultdict[str, list[float]] = defaultdict(list)
        self.frames = 0
        self.labelled_frames = 0

    def add_timings(self, timings: Mapping[str, float]) -> None:
        """Seconds of each stage of one frame."""
        for stage, seconds in timings.items():
            self._timings[stage].append(seconds)

    def add_labels(self, labels: np.ndarray, truth: np.ndarray | None) -> None:
        """One frame's labels and, where known, the true ones: uint8 [H, W], 255 void."""
        self.frames += 1
        self._pixels += np.bincount(labels.ravel(), minlength=256)
        if truth is not None:
            self._confusion.add(truth, labels)
            self.labelled_frames += 1

    def report(self) -> dict[str, Any]:
        """JSON values.

        `stages_ms`: milliseconds of each stage (mean, p50, p95). `class_share`: share of all
        pixels by class name. `scores`: 0 to 1, null where a class does not occur; null altogether
        without labels.
        """
        total = max(1, int(self._pixels.sum()))
        return {
            "stages_ms": {stage: milliseconds(seconds) for stage, seconds in self._timings.items()},
            "class_share": {c.name: int(self._pixels[c.id]) / total for c in self._classes},
            "scores": self._scores() if self.labelled_frames else None,
        }

    def _scores(self) -> dict[str, Any]:
        scores = self._confusion.scores()
        per_class = zip(self._classes, scores.per_class_iou.tolist(), strict=True)
        return {
            "frames": self.labelled_frames,
            "miou": _number(scores.miou),
            "per_class_iou": {c.name: _number(iou) for c, iou in per_class},
            "precision_void_excluded": _number(scores.precision_void_excluded),
            "pixel_accuracy": _number(scores.pixel_accuracy),
        }


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Mean, median and 95th percentile of durations, in milliseconds."""
    values = np.asarray(seconds) * 1e3
    p50, p95 = np.percentile(values, (50, 95))
    return {"mean": float(values.mean()), "p50": float(p50), "p95": float(p95)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
