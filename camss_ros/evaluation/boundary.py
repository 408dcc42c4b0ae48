"""Boundary IoU of label images (Cheng et al., arXiv 2103.16562).

The boundary region of a class are its pixels at most d pixels (in the larger of the two
coordinates) from a pixel of another class or from outside the image, d being a share of the image's
diagonal and at least 1: the official implementation, a class taken as one mask. Pixels whose truth
is void are of no class in either image: they are not counted, and a border with them is no contour.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from camss_ros.evaluation.metrics import joint_counts
from camss_ros.images.label_class import VOID

DILATION_RATIO = 0.02  # the paper's for evaluation at image level


def boundary_counts(
    truth: np.ndarray, predicted: np.ndarray, classes: int, dilation_ratio: float = DILATION_RATIO
) -> np.ndarray:
    """Pixels in the boundary regions of one image.

    Args:
        truth, predicted: uint8 [H, W], class ids or 255 for void.
        classes: number of classes.
        dilation_ratio: d as a share of the diagonal.

    Returns:
        int64 [2, classes]: intersection and union of the regions in `truth` and in `predicted`.
    """
    distance = max(1, round(dilation_ratio * math.hypot(*truth.shape)))
    void = truth == VOID
    joint = joint_counts(*(_boundary_labels(each, void, distance) for each in (truth, predicted)))
    intersection = joint.diagonal()
    union = joint.sum(axis=1) + joint.sum(axis=0) - intersection
    return np.stack([intersection, union])[:, :classes]


def _boundary_labels(labels: np.ndarray, void: np.ndarray, distance: int) -> np.ndarray:
    """The labels within the boundary regions of their classes, 255 elsewhere; uint8 [H, W].

    A pixel is in none where the smallest and the largest class of the window around it are its own.
    """
    window = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    # From 1 on, and 0 for what is predicted as void: a class other than all, as is the outside.
    # Pixels whose truth is void change neither extreme.
    shifted = labels + np.uint8(1)
    smallest = cv2.erode(
        np.where(void, np.uint8(255), shifted), window,
        borderType=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    largest = cv2.dilate(
        np.where(void, np.uint8(0), shifted), window, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    inner = (smallest == shifted) & (largest == shifted)
    return np.where(void | inner, np.uint8(VOID), labels)
