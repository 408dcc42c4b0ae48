"""Whether the confidence of a segmentation is the share of its pixels that is right, and whether
it tells the wrong pixels from the right ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camss_ros.evaluation.metrics import ratio

BINS = 15


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
