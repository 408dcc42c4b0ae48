"""numpy arrays to sensor_msgs images; the way back is `data/image_encoding.py`."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header


def to_image_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """uint8 [H, W] or [H, W, C] -> sensor_msgs/Image without padding; `step` = W * C."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    # rclpy takes an array without looking at each of its elements, unlike bytes or a list.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).data)
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels,
        data=data,
    )
