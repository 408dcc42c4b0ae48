"""Segmentation scores from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camss_ros.images.label_class import VOID


class ConfusionMatrix:
    """Counts pixels by true and predicted class.

    Attributes:
        counts: int64 [n, n + 1], true class by predicted class; the last column counts pixels
            predicted as void. Pixels whose truth is void are not counted.
    """

    def __init__(self, classes: int) -> None:
        if not 1 <= classes < VOID:
            raise ValueError(f"{classes} classes: expected 1 to {VOID - 1}")
        self.classes = classes
        self.counts = np.zeros((classes, classes + 1), np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Counts one image; both uint8 [H, W], class ids or 255 for void.

        Raises ValueError for other types, shapes that differ and ids that are no class.
        """
        check_labels(truth, predicted, self.classes)
        known = truth != VOID
        rows = truth[known].astype(np.int64)
        columns = np.minimum(predicted[known], self.classes).astype(np.int64)
        index = rows * (self.classes + 1) + columns
        counted = np.bincount(index, minlength=self.counts.size)
        self.counts += counted.reshape(self.counts.shape)

    def scores(self) -> Scores:
        """The scores of everything counted so far."""
        inner = self.counts[:, :-1]
        hits = inner.diagonal()
        true, predicted = self.counts.sum(axis=1), inner.sum(axis=0)
        occurs = true + predicted > 0
        precision, recall = ratio(hits, predicted), ratio(hits, true)
        iou = ratio(hits, true + predicted - hits)
        f1 = ratio(2 * hits, true + predicted)
        pixels = true.sum(keepdims=True)
        weighted = np.nansum(true * iou, keepdims=True)
        return Scores(
            miou=mean_known(iou),
            per_class_iou=iou,
            precision_void_excluded=mean_known(precision),
            per_class_precision=precision,
            per_class_recall=recall,
            pixel_accuracy=float(ratio(hits.sum(keepdims=True), pixels)[0]),
            per_class_f1=f1,
            mean_f1=mean_known(f1),
            mean_precision=mean_known(np.nan_to_num(precision[occurs])),
            mean_recall=mean_known(np.nan_to_num(recall[occurs])),
            frequency_weighted_iou=float(ratio(weighted, pixels)[0]),
        )


@dataclass(frozen=True)
class Scores:
    """Scores from 0 to 1; float64 [n] per class, NaN where a ratio has no denominator.

    Attributes:
        miou: mean of the IoU of the classes that occur in the truth or in the prediction.
        precision_void_excluded: mean over the predicted classes of the share of their pixels that
            is right, void left out of truth and prediction. The "AP" of the CAM-Seg paper
            (arXiv 2503.15617): it does not see false negatives.
        pixel_accuracy: share of the pixels of known truth whose class is right.
        per_class_f1: harmonic mean of precision and recall (the Dice coefficient).
        mean_f1, mean_precision, mean_recall: mean over the classes that occur in the truth or in
            the prediction, where a class on one side only counts as 0.
        frequency_weighted_iou: mean of the IoU weighted by the true pixels of each class.
    """

    miou: float
    per_class_iou: np.ndarray
    precision_void_excluded: float
    per_class_precision: np.ndarray
    per_class_recall: np.ndarray
    pixel_accuracy: float
    per_class_f1: np.ndarray
    mean_f1: float
    mean_precision: float
    mean_recall: float
    frequency_weighted_iou: float


def check_labels(truth: np.ndarray, predicted: np.ndarray, classes: int) -> None:
    """Refuse what are not two uint8 label images of one shape, with class ids or 255 for void.

    Raises ValueError that names the image and what was expected.
    """
    for name, labels in (("truth", truth), ("predicted", predicted)):
        if labels.dtype != np.uint8:
            raise ValueError(f"{name} is {labels.dtype}: expected uint8 class ids")
        strange = (labels >= classes) & (labels != VOID)
        if strange.any():
            raise ValueError(
                f"{name} has the class id {labels[strange][0]}: expected 0 to {classes - 1}, "
                f"or {VOID} for void"
            )
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape}, predicted is {predicted.shape}")


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def mean_known(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if none is."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")
