"""The one place that counts pixels: every score of labelled frames is computed from its counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from camss_ros.evaluation.boundary import boundary_counts
from camss_ros.evaluation.metrics import (
    Reliability,
    Scores,
    by_class,
    confusion_scores,
    joint_counts,
    json_number,
    mean_known,
    ratio,
    reliability,
    wrong_pixel_auroc,
)
from camss_ros.images.label_class import VOID, LabelClass


class ScoreAccumulator:
    """Counts the pixels of frames, one after the other. Memory does not grow with the frames.

    `counts()` and `merge()` carry the counts of one run to another.

    Args:
        classes: number of classes, 1 to 254.
        boundary: count for the boundary IoU too.

    Attributes:
        frames: labelled frames counted.
        confusion: int64 [n, n + 1], pixels by true and predicted class; the last column are those
            predicted as void. Pixels whose truth is void are in none.
        predicted_pixels: int64 [256], pixels of all frames, labelled or not, by predicted id.
    """

    def __init__(self, classes: int, *, boundary: bool = False) -> None:
        if not 1 <= classes < VOID:
            raise ValueError(f"{classes} classes: expected 1 to {VOID - 1}")
        self.classes = classes
        self.frames = 0
        self.confusion = np.zeros((classes, classes + 1), np.int64)
        self.predicted_pixels = np.zeros(256, np.int64)
        self._count_boundary = boundary
        self._boundary = np.zeros((2, classes), np.int64)  # intersection, union
        self._confidence = np.zeros((2, 256), np.int64)  # all pixels, right ones
        self._flicker = np.zeros(2, np.int64)  # pixels whose truth stays, changed ones of them
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    def add(
        self, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray | None = None
    ) -> np.ndarray:
        """Count the next labelled frame, or nothing of it where it is refused.

        Args:
            truth, predicted: uint8 [H, W], class ids or 255 for void.
            confidence: uint8 [H, W], probability of the predicted class times 255.

        Returns:
            The confusion matrix of the frame alone.

        Raises:
            ValueError: other types, shapes that differ, or ids that are no class.
        """
        for name, labels in (("truth", truth), ("predicted", predicted)):
            if labels.dtype != np.uint8:
                raise ValueError(f"{name} is {labels.dtype}: expected uint8 class ids")
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, predicted is {predicted.shape}")
        if confidence is not None and (
            confidence.dtype != np.uint8 or confidence.shape != truth.shape
        ):
            raise ValueError(
                f"confidence is {confidence.dtype} {confidence.shape}: expected uint8 {truth.shape}"
            )
        joint = joint_counts(truth, predicted)
        self._check_ids("truth", joint.sum(axis=1))
        self._check_ids("predicted", joint.sum(axis=0))
        known = joint[: self.classes]
        confusion = np.column_stack([known[:, : self.classes], known[:, VOID]])
        self.frames += 1
        self.confusion += confusion
        self.predicted_pixels += joint.sum(axis=0)
        if self._count_boundary:
            self._boundary += boundary_counts(truth, predicted, self.classes)
        if confidence is not None:
            outcome = (truth == predicted).view(np.uint8)
            outcome[truth == VOID] = VOID
            wrong, right = joint_counts(outcome, confidence)[:2]
            self._confidence += wrong + right, right
        if self._previous is not None and self._previous[0].shape == truth.shape:
            old_truth, old_predicted = self._previous
            steady = (truth == old_truth) & (truth != VOID)
            changed = steady & (predicted != old_predicted)
            self._flicker += np.count_nonzero(steady), np.count_nonzero(changed)
        self._previous = truth.copy(), predicted.copy()  # the caller may reuse the arrays
        return confusion

    def add_unlabelled(self, predicted: np.ndarray) -> None:
        """Count the next frame, uint8 [H, W], whose truth is not known."""
        self.predicted_pixels += np.bincount(predicted.ravel(), minlength=256)
        self.end_sequence()

    def end_sequence(self) -> None:
        """The next frame does not follow the last one in time: no flicker between the two.

        Frames of two sizes do not follow each other either.
        """
        self._previous = None

    def scores(self) -> Scores:
        """The scores of the confusion matrix."""
        return confusion_scores(self.confusion)

    def boundary_iou(self) -> np.ndarray:
        """Boundary IoU of each class, 0 to 1; float64 [n], NaN where it was not counted."""
        return ratio(*self._boundary)

    def reliability(self) -> Reliability:
        """The reliability of the confidence."""
        return reliability(*self._confidence)

    def flicker(self) -> float:
        """Share of the pixels whose label changes from a frame to the next though the truth stays.

        The truth of both frames has to be known. Frames are compared place by place, without
        motion compensation. 0 to 1, NaN where there is nothing to compare.
        """
        return float(ratio(self._flicker[1:], self._flicker[:1])[0])

    def class_share(self, classes: Sequence[LabelClass]) -> dict[str, float]:
        """Share of each class in the predicted pixels of all frames, by its name."""
        total = max(1, int(self.predicted_pixels.sum()))
        return {c.name: int(self.predicted_pixels[c.id]) / total for c in classes}

    def report(self, classes: Sequence[LabelClass]) -> dict[str, Any]:
        """All scores as JSON values: 0 to 1, null where there is nothing to measure."""
        boundary = self.boundary_iou()
        values = {
            **vars(self.scores()),
            "boundary_iou": mean_known(boundary),
            "per_class_boundary_iou": boundary,
            "expected_calibration_error": self.reliability().expected_calibration_error,
            "wrong_pixel_auroc": wrong_pixel_auroc(*self._confidence),
            "flicker": self.flicker(),
        }
        return {
            name: by_class(classes, value) if isinstance(value, np.ndarray) else json_number(value)
            for name, value in values.items()
        }

    def counts(self) -> dict[str, Any]:
        """What the scores are computed from, as JSON values."""
        sums = {name: array.tolist() for name, array in self._sums().items()}
        return {"frames": self.frames, **sums}

    def merge(self, counts: dict[str, Any]) -> None:
        """Add the counts of another run.

        Raises:
            ValueError: it has other classes.
        """
        if len(counts["confusion"]) != self.classes:
            raise ValueError(f"{len(counts['confusion'])} classes: expected {self.classes}")
        self.end_sequence()
        self.frames += counts["frames"]
        for name, array in self._sums().items():
            array += np.array(counts[name], np.int64)

    def _sums(self) -> dict[str, np.ndarray]:
        return {
            "confusion": self.confusion,
            "boundary": self._boundary,
            "calibration": self._confidence,
            "flicker": self._flicker,
        }

    def _check_ids(self, name: str, pixels: np.ndarray) -> None:
        strange = pixels[self.classes : VOID].nonzero()[0]
        if strange.size:
            raise ValueError(
                f"{name} has the class id {self.classes + strange[0]}: expected 0 to "
                f"{self.classes - 1}, or {VOID} for void"
            )
