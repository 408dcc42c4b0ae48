"""sensor_msgs images to numpy arrays and back.

Encodings are those of sensor_msgs/image_encodings.hpp; rows of `step` bytes may be padded.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header


class ImageRejectedError(ValueError):
    """An image message that cannot be used.

    Attributes:
        reason: a word for the kind of fault, to count by: "encoding", "size", "step", "data".
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class _Encoding:
    """How rows of bytes become RGB."""

    channels: int  # bytes a pixel
    to_rgb: Callable[[np.ndarray], np.ndarray]
    width_multiple: int = 1


def _cvt(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: cv2.cvtColor(pixels, code)


_YUY2 = _Encoding(2, _cvt(cv2.COLOR_YUV2RGB_YUY2), width_multiple=2)
_UYVY = _Encoding(2, _cvt(cv2.COLOR_YUV2RGB_UYVY), width_multiple=2)

# OpenCV names a Bayer pattern by its second row, second and third pixel; ROS by the first 2 x 2.
_ENCODINGS = {
    "rgb8": _Encoding(3, np.ascontiguousarray),
    "bgr8": _Encoding(3, _cvt(cv2.COLOR_BGR2RGB)),
    "rgba8": _Encoding(4, _cvt(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Encoding(4, _cvt(cv2.COLOR_BGRA2RGB)),
    "mono8": _Encoding(1, _cvt(cv2.COLOR_GRAY2RGB)),
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "bayer_rggb8": _Encoding(1, _cvt(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr8": _Encoding(1, _cvt(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg8": _Encoding(1, _cvt(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg8": _Encoding(1, _cvt(cv2.COLOR_BayerGB2RGB)),
}


def check_image(message: Image) -> None:
    """Check an image message without converting it.

    Raises:
        ImageRejectedError: unknown encoding, zero size, rows shorter than the width needs, or
            fewer bytes than height * step.
    """
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageRejectedError(
            "encoding",
            f"encoding {message.encoding!r} is not supported; use one of {', '.join(_ENCODINGS)}",
        )
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise ImageRejectedError("size", f"the image is empty: {width} x {height} pixels")
    if width % encoding.width_multiple:
        raise ImageRejectedError(
            "size",
            f"the width of {message.encoding} must be a multiple of {encoding.width_multiple}, "
            f"not {width}",
        )
    if step < width * encoding.channels:
        raise ImageRejectedError(
            "step",
            f"step is {step} bytes, but {width} pixels of {message.encoding} take "
            f"{width * encoding.channels}",
        )
    if len(message.data) < height * step:
        raise ImageRejectedError(
            "data",
            f"data is truncated: {len(message.data)} bytes instead of height * step = "
            f"{height} * {step} = {height * step}",
        )


def image_to_rgb(message: Image) -> np.ndarray:
    """sensor_msgs/Image -> uint8 [H, W, 3] RGB; for rgb8 without padding, a view of its data.

    Raises:
        ImageRejectedError: as `check_image`.
    """
    check_image(message)
    encoding = _ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    rows = np.frombuffer(message.data, np.uint8, count=height * step).reshape(height, step)
    pixels = rows[:, : width * encoding.channels]
    if encoding.channels > 1:
        pixels = pixels.reshape(height, width, encoding.channels)
    return encoding.to_rgb(pixels)


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """sensor_msgs/CompressedImage (JPEG, PNG, ...) -> uint8 [H, W, 3] RGB.

    Raises:
        ImageRejectedError: the data cannot be decoded.
    """
    data = np.frombuffer(message.data, np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if decoded is None:
        raise ImageRejectedError(
            "data", f"{data.size} bytes of format {message.format!r} cannot be decoded"
        )
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


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
