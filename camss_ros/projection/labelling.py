"""Labels for the points of a lidar from the label images of one or more cameras."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.transforms import apply


@dataclass(frozen=True)
class View:
    """A camera with its label image.

    Attributes:
        camera: of the size of the label image.
        to_camera: float [4, 4], from the frame of the points to the camera's optical frame.
        labels, confidence: uint8 [H, W].
    """

    camera: CameraModel
    to_camera: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray


def label_points(points: np.ndarray, views: Iterable[View]) -> tuple[np.ndarray, np.ndarray]:
    """Label and confidence, uint8 [N] each, of points [3, N].

    Where several cameras see a point the surest label wins, the first of equally sure ones. A point
    that no camera sees, or that falls on void, is void with confidence 0. What stands between a
    camera and a point is not looked for.
    """
    count = points.shape[1]
    labels, confidence = np.full(count, VOID, np.uint8), np.zeros(count, np.uint8)
    for view in views:
        seen, pixels = view.camera.pixels(apply(view.to_camera, points))
        label, sure = view.labels.reshape(-1)[pixels], view.confidence.reshape(-1)[pixels]
        better = (label != VOID) & ((sure > confidence[seen]) | (labels[seen] == VOID))
        winners = seen[better]
        labels[winners], confidence[winners] = label[better], sure[better]
    return labels, confidence
