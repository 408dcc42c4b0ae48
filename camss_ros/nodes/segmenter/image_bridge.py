"""numpy arrays to sensor_msgs images; the way back is `data/image_encoding.py`."""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.images.run_lengths import encode_runs


def to_image_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """uint8 [H, W] or [H, W, C] -> sensor_msgs/Image without padding; `step` = W * C."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels,
        data=_bytes(np.ascontiguousarray(pixels).data),
    )


def to_runs_message(labels: np.ndarray, header: Header) -> Image:
    """uint8 [H, W] -> sensor_msgs/Image as Autoware's semantic segmentation publishes it.

    Labelled mono8 with the size of the image, but the data are runs (`encode_runs`).
    """
    message = to_image_message(labels[:0], "mono8", header)
    message.height, message.width = labels.shape
    message.step = labels.shape[1]
    message.data = _bytes(encode_runs(labels))
    return message


def to_png_message(labels: np.ndarray, header: Header) -> CompressedImage:
    """uint8 [H, W] -> sensor_msgs/CompressedImage without loss, as image_transport writes mono8."""
    _, png = cv2.imencode(".png", labels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    return CompressedImage(header=header, format="mono8; png compressed ", data=_bytes(png.data))


def _bytes(buffer: bytes | memoryview) -> array.array:
    # rclpy takes an array without looking at each of its elements, unlike bytes or a list.
    data = array.array("B")
    data.frombytes(buffer)
    return data
