"""Whether the confidence of a segmentation is the share of its pixels that is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camss_ros.evaluation.metrics import check_labels, ratio
from camss_ros.images.label_class import VOID

BINS = 15
_LEVELS = 256  # a confidence is a probability times 255


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


class Calibration:
    """Counts right and wrong pixels by their confidence. Pixels whose truth is void don't count."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.total = np.zeros(_LEVELS, np.int64)
        self.right = np.zeros(_LEVELS, np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> None:
        """Counts one image.

        Args:
            truth, predicted: uint8 [H, W], class ids or 255 for void.
            confidence: uint8 [H, W], probability of the predicted class times 255.

        Raises ValueError for other types, shapes that differ and ids that are no class.
        """
        check_labels(truth, predicted, self.classes)
        if confidence.dtype != np.uint8 or confidence.shape != truth.shape:
            raise ValueError(
                f"confidence is {confidence.dtype} {confidence.shape}: expected uint8 {truth.shape}"
            )
        known = truth != VOID
        right = known & (truth == predicted)
        self.total += np.bincount(confidence[known], minlength=_LEVELS)
        self.right += np.bincount(confidence[right], minlength=_LEVELS)

    def reliability(self, bins: int = BINS) -> Reliability:
        """The curve over equal-width bins; a confidence on an edge belongs to the upper one."""
        levels = np.arange(_LEVELS)
        bin_of = np.minimum(levels * bins // (_LEVELS - 1), bins - 1)

        def sums(values: np.ndarray) -> np.ndarray:
            return np.bincount(bin_of, weights=values, minlength=bins)

        pixels, right = sums(self.total), sums(self.right)
        confidence_sum = sums(self.total * levels / (_LEVELS - 1))
        gaps = np.abs(confidence_sum - right).sum(keepdims=True)
        return Reliability(
            float(ratio(gaps, pixels.sum(keepdims=True))[0]),
            pixels.astype(np.int64),
            ratio(confidence_sum, pixels),
            ratio(right, pixels),
        )
