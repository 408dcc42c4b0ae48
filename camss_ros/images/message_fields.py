"""The fields of ROS messages as plain values, for rclpy and for recordings alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from camss_ros.images.label_class import VOID, LabelClass

# A byte of class, four of length, little-endian, no padding between them.
_RUN = np.dtype([("label", "u1"), ("length", "<i4")])


def image_fields(pixels: np.ndarray, encoding: str) -> dict[str, Any]:
    """Those of sensor_msgs/Image but header and data, for unpadded pixels [H, W] or [H, W, C]."""
    height, width = pixels.shape[:2]
    return {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": width * pixels.itemsize * (1 if pixels.ndim == 2 else pixels.shape[2]),
    }


def pinhole(height: int, width: int, horizontal_fov: float) -> dict[str, Any]:
    """Those of sensor_msgs/CameraInfo that say how a camera projects that nobody calibrated.

    An undistorted pinhole with square pixels that looks through the image centre. `height` and
    `width` in pixels; `horizontal_fov` in degrees, between 0 and 180.
    """
    focal = width / 2 / math.tan(math.radians(horizontal_fov) / 2)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return {
        "height": height,
        "width": width,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    }


def fill_label_info(
    label_info: Callable[..., Any],
    vision_class: Callable[..., Any],
    classes: Iterable[LabelClass],
    header: Any,
    threshold: float = 0.0,
) -> Any:
    """vision_msgs/LabelInfo with every class id and name. 255 is "unlabeled" by definition.

    Args:
        label_info, vision_class: the types of the messages.
        threshold: the confidence, 0 to 1, below which pixels are 255.
    """
    names = [vision_class(class_id=each.id, class_name=each.name) for each in classes]
    return label_info(header=header, class_map=names, threshold=threshold)


def class_names(label_info: Any) -> dict[int, str]:
    """Class ids and names of a vision_msgs/LabelInfo; "unlabeled" is none."""
    return {each.class_id: each.class_name for each in label_info.class_map if each.class_id < VOID}


def encode_runs(labels: np.ndarray) -> bytes:
    """uint8 [H, W] -> for each run of equal labels in reading order its class and length in pixels,
    as Autoware's perception_utils codes them."""
    flat = labels.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    runs = np.empty(len(starts), _RUN)
    runs["label"] = flat[starts]
    runs["length"] = np.diff(starts, append=flat.size)
    return runs.tobytes()
