"""Boundary IoU of label images (Cheng et al., arXiv 2103.16562)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from camss_ros.evaluation.metrics import check_labels, mean_known, ratio
from camss_ros.images.label_class import VOID

DILATION_RATIO = 0.02  # the paper's for evaluation at image level


@dataclass(frozen=True)
class BoundaryScores:
    """Boundary IoU from 0 to 1: `per_class` float64 [n], NaN where a class does not occur, and
    `mean` over the classes that occur."""

    mean: float
    per_class: np.ndarray


class BoundaryIoU:
    """IoU of the pixels of each class that lie near its contour, summed over images.

    The boundary region of a class are its pixels at most d pixels (in the larger of the two
    coordinates) from a pixel of another class or from outside the image, d being
    `dilation_ratio` of the image's diagonal and at least 1: the official implementation, a class
    taken as one mask. Pixels whose truth is void are of no class in either image: they are not
    counted, and a border with them is no contour.

    Args:
        classes: number of classes.
        dilation_ratio: d as a share of the diagonal.
    """

    def __init__(self, classes: int, dilation_ratio: float = DILATION_RATIO) -> None:
        self.classes = classes
        self.dilation_ratio = dilation_ratio
        self.intersection = np.zeros(classes, np.int64)
        self.union = np.zeros(classes, np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Counts one image; both uint8 [H, W], class ids or 255 for void.

        Raises ValueError for other types, shapes that differ and ids that are no class.
        """
        check_labels(truth, predicted, self.classes)
        distance = max(1, round(self.dilation_ratio * math.hypot(*truth.shape)))
        void = truth == VOID
        for class_id in range(self.classes):
            regions = [
                _boundary_region((labels == class_id) & ~void, void, distance)
                for labels in (truth, predicted)
            ]
            self.intersection[class_id] += np.count_nonzero(regions[0] & regions[1])
            self.union[class_id] += np.count_nonzero(regions[0] | regions[1])

    def scores(self) -> BoundaryScores:
        """The scores of everything counted so far."""
        per_class = ratio(self.intersection, self.union)
        return BoundaryScores(mean_known(per_class), per_class)


def _boundary_region(mask: np.ndarray, void: np.ndarray, distance: int) -> np.ndarray:
    """The part of `mask` at most `distance` from what is neither in it nor void; bool [H, W]."""
    if not mask.any():
        return mask
    size = 2 * distance + 1
    inner = cv2.erode(
        (mask | void).astype(np.uint8), np.ones((size, size), np.uint8),
        borderType=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    return mask & (inner == 0)
