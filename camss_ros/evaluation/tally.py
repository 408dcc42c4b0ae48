"""Everything that is counted over labelled frames, in a form that adds up over runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from camss_ros.evaluation.boundary import BoundaryIoU
from camss_ros.evaluation.calibration import Calibration
from camss_ros.evaluation.evaluate import scores_report
from camss_ros.evaluation.flicker import Flicker
from camss_ros.evaluation.metrics import ConfusionMatrix
from camss_ros.images.label_sets import LabelSet


class Tally:
    """The counts behind the scores. Memory does not grow with the frames.

    `frames`: labelled frames counted. `counts()` and `merge()` carry a tally from run to run.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.frames = 0
        self.confusion = ConfusionMatrix(classes)
        self._boundary = BoundaryIoU(classes)
        self._calibration = Calibration(classes)
        self._steady = self._changed = 0
        self._flicker: Flicker | None = None
        self._shape: tuple[int, ...] = ()

    def add(
        self, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray
    ) -> ConfusionMatrix:
        """The next labelled frame, all uint8 [H, W]; returns its own confusion matrix."""
        own = ConfusionMatrix(self.classes)
        own.add(truth, predicted)
        self.confusion.counts += own.counts
        self._boundary.add(truth, predicted)
        self._calibration.add(truth, predicted, confidence)
        if self._flicker is None or truth.shape != self._shape:
            self.break_clip()
            self._flicker, self._shape = Flicker(self.classes), truth.shape
        self._flicker.add(truth, predicted)
        self.frames += 1
        return own

    def break_clip(self) -> None:
        """The next frame does not follow the last one in time: no flicker between the two."""
        if self._flicker is not None:
            self._steady += self._flicker.steady
            self._changed += self._flicker.changed
        self._flicker = None

    def counts(self) -> dict[str, Any]:
        """All counts as JSON values."""
        self.break_clip()
        return {
            "frames": self.frames,
            "confusion": self.confusion.counts.tolist(),
            "boundary": [self._boundary.intersection.tolist(), self._boundary.union.tolist()],
            "calibration": [self._calibration.total.tolist(), self._calibration.right.tolist()],
            "flicker": [self._steady, self._changed],
        }

    def merge(self, counts: dict[str, Any]) -> None:
        """Add the counts of another run. Raises ValueError where it has other classes."""
        confusion = np.array(counts["confusion"], np.int64)
        if confusion.shape != self.confusion.counts.shape:
            raise ValueError(f"{len(confusion)} classes: expected {self.classes}")
        self.break_clip()
        self.frames += counts["frames"]
        self.confusion.counts += confusion
        for sums, name in (
            ((self._boundary.intersection, self._boundary.union), "boundary"),
            ((self._calibration.total, self._calibration.right), "calibration"),
        ):
            for own, other in zip(sums, counts[name], strict=True):
                own += np.array(other, np.int64)
        self._steady += counts["flicker"][0]
        self._changed += counts["flicker"][1]

    def scores(self, label_set: LabelSet) -> dict[str, Any] | None:
        """JSON values, 0 to 1, null where there is nothing to measure; None without frames."""
        if not self.frames:
            return None
        self.break_clip()
        boundary = self._boundary.scores()
        by_class = zip(label_set.classes, boundary.per_class.tolist(), strict=True)
        ece = self._calibration.reliability().expected_calibration_error
        return {
            **scores_report(self.confusion.scores(), label_set),
            "boundary_iou": _number(boundary.mean),
            "per_class_boundary_iou": {c.name: _number(value) for c, value in by_class},
            "expected_calibration_error": _number(ece),
            "flicker": self._changed / self._steady if self._steady else None,
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
