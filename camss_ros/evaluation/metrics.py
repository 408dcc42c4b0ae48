"""Scores from counts: of a confusion matrix, and the reliability of the confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camss_ros.images.label_class import LabelClass


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


def confusion_scores(confusion: np.ndarray) -> Scores:
    """The scores of a confusion matrix.

    Args:
        confusion: int64 [n, n + 1], pixels by true and predicted class; the last column are those
            predicted as void.
    """
    inner = confusion[:, :-1]
    hits = inner.diagonal()
    true, predicted = confusion.sum(axis=1), inner.sum(axis=0)
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


def joint_counts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How often each pair of values occurs at one place of two uint8 arrays; int64 [256, 256]."""
    index = first.astype(np.uint16)
    index <<= 8
    index |= second
    return np.bincount(index.ravel(), minlength=1 << 16).reshape(256, 256)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def mean_known(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if none is."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")


def json_number(value: float) -> float | None:
    """The value as it goes into a JSON file: None, which is null there, for NaN."""
    return None if math.isnan(value) else value


def by_class(classes: Sequence[LabelClass], values: np.ndarray) -> dict[str, float | None]:
    """Values [n] of the classes as JSON values, by their names."""
    return {c.name: json_number(v) for c, v in zip(classes, values.tolist(), strict=True)}


BINS = 15  # of the reliability curve


@dataclass(frozen=True)
class Reliability:
    """The reliability curve (Guo et al., arXiv 1706.04599) and what it sums up to.

    Attributes:
        expected_calibration_error: mean distance between confidence and accuracy of a bin, each
            weighted by its pixels; 0 to 1, NaN without pixels.
        pixels: int64 [bins], pixels in each bin.
        confidence: float64 [bins], their mean confidence; NaN where there are none.
        accuracy: float64 [bins], the share of them whose class is right; NaN where there are none.
    """

    expected_calibration_error: float
    pixels: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(total: np.ndarray, right: np.ndarray, bins: int = BINS) -> Reliability:
    """The curve over equal-width bins; a confidence on an edge belongs to the upper one.

    Args:
        total: int64 [256], pixels by their confidence, a probability times 255.
        right: int64 [256], those of them whose class is right.
        bins: number of bins.
    """
    top = len(total) - 1
    levels = np.arange(len(total))
    bin_of = np.minimum(levels * bins // top, bins - 1)

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(bin_of, weights=values, minlength=bins)

    pixels, hits = sums(total), sums(right)
    confidence_sum = sums(total * levels / top)
    gaps = np.abs(confidence_sum - hits).sum(keepdims=True)
    return Reliability(
        float(ratio(gaps, pixels.sum(keepdims=True))[0]),
        pixels.astype(np.int64),
        ratio(confidence_sum, pixels),
        ratio(hits, pixels),
    )


def wrong_pixel_auroc(total: np.ndarray, right: np.ndarray) -> float:
    """Area under the ROC curve of finding wrong pixels by their low confidence, as BRAVO measures
    (arXiv 2409.15107): the probability that a right pixel is surer than a wrong one, ties by half.

    Args:
        total, right: as of `reliability`.

    Returns:
        0 to 1; NaN where all pixels are right, or all wrong.
    """
    right = right.astype(np.float64)
    wrong = total - right
    less_sure = np.cumsum(wrong) - wrong / 2
    pairs = right.sum(keepdims=True) * wrong.sum(keepdims=True)
    return float(ratio((right * less_sure).sum(keepdims=True), pairs)[0])
