"""The pixels of sensor_msgs images as numpy arrays, whoever deserialized the message.

Encodings are those of sensor_msgs/image_encodings.hpp; rows of `step` bytes may be padded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np


class RawImage(Protocol):
    """The fields of sensor_msgs/Image; `data` is a buffer of bytes."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any


class EncodedImage(Protocol):
    """The fields of sensor_msgs/CompressedImage; `data` is a buffer of bytes."""

    format: str
    data: Any


_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


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
    "8UC1": _Encoding(1, _cvt(cv2.COLOR_GRAY2RGB)),
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "bayer_rggb8": _Encoding(1, _cvt(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr8": _Encoding(1, _cvt(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg8": _Encoding(1, _cvt(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg8": _Encoding(1, _cvt(cv2.COLOR_BayerGB2RGB)),
}


def check_image(message: RawImage) -> None:
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


def image_to_rgb(message: RawImage) -> np.ndarray:
    """sensor_msgs/Image -> uint8 [H, W, 3] RGB; for rgb8 without padding, a view of its data.

    Raises:
        ImageRejectedError: as `check_image`.
    """
    check_image(message)
    encoding = _ENCODINGS[message.encoding]
    return encoding.to_rgb(_rows(message, encoding))


def _rows(message: RawImage, encoding: _Encoding) -> np.ndarray:
    """The pixels without the padding of their rows: uint8 [H, W] or [H, W, channels]."""
    height, width, step = message.height, message.width, message.step
    rows = np.frombuffer(message.data, np.uint8, count=height * step).reshape(height, step)
    pixels = rows[:, : width * encoding.channels]
    if encoding.channels > 1:
        pixels = pixels.reshape(height, width, encoding.channels)
    return pixels


def compressed_to_rgb(message: EncodedImage) -> np.ndarray:
    """sensor_msgs/CompressedImage (JPEG, PNG, ...) -> uint8 [H, W, 3] RGB.

    Raises:
        ImageRejectedError: the data cannot be decoded, or is a truncated JPEG.
    """
    return cv2.cvtColor(_decode(message, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def image_to_labels(message: RawImage) -> np.ndarray:
    """sensor_msgs/Image, mono8 or 8UC1 -> its values, uint8 [H, W].

    Raises:
        ImageRejectedError: as `check_image`, and for other encodings.
    """
    if message.encoding not in ("mono8", "8UC1"):
        raise ImageRejectedError(
            "encoding", f"encoding {message.encoding!r} holds no labels; use mono8 or 8UC1"
        )
    check_image(message)
    return np.ascontiguousarray(_rows(message, _ENCODINGS["mono8"]))


def compressed_to_labels(message: EncodedImage) -> np.ndarray:
    """sensor_msgs/CompressedImage without loss (PNG), 8 bit, one channel -> uint8 [H, W].

    Raises:
        ImageRejectedError: the data cannot be decoded, is a JPEG, or has other pixels.
    """
    if bytes(message.data[:2]) == _JPEG_START:
        raise ImageRejectedError("encoding", "JPEG changes labels; use PNG")
    decoded = _decode(message, cv2.IMREAD_UNCHANGED)
    if decoded.ndim != 2 or decoded.dtype != np.uint8:
        raise ImageRejectedError(
            "encoding",
            f"pixels of {decoded.dtype}, {decoded.shape[2] if decoded.ndim > 2 else 1} channels: "
            "expected labels of 8 bit in one channel",
        )
    return decoded


def _decode(message: EncodedImage, flags: int) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    # libjpeg fills what a truncated file lacks with grey and reports success.
    truncated = bytes(data[:2]) == _JPEG_START and _JPEG_END not in data.tobytes()
    try:
        decoded = cv2.imdecode(data, flags) if data.size and not truncated else None
    except cv2.error:  # e.g. a header that claims more pixels than OpenCV allows
        decoded = None
    if decoded is None:
        raise ImageRejectedError(
            "data",
            f"{data.size} bytes of format {message.format!r} cannot be decoded"
            + (": the JPEG is truncated" if truncated else ""),
        )
    return decoded
