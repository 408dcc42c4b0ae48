"""The pixels of sensor_msgs images as numpy arrays, of rclpy and of rosbags alike.

Encodings are those of sensor_msgs/image_encodings.hpp; rows of `step` bytes may be padded.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import cv2
import numpy as np
import PIL.Image

from camss_ros.images.image_files import JPEG_START, PNG_START, find_damage


class RawImage(Protocol):
    """The fields of sensor_msgs/Image; `data` is a buffer of bytes."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class EncodedImage(Protocol):
    """The fields of sensor_msgs/CompressedImage; `data` is a buffer of bytes."""

    format: str
    data: Any


# A damaged header may claim any size, and the decoder would take the memory for it.
MAX_PIXELS = 2**26
_PNG_BIT_DEPTH = 24  # place of that byte


class ImageRejectedError(ValueError):
    """An image message that cannot be used.

    Attributes:
        reason: a word for the kind of fault, to count by: "encoding", "size", "step", "data".
        remedy: what could be published instead, where that is long: to be said once; or empty.
    """

    def __init__(self, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.reason, self.remedy = reason, remedy

    def text(self, reported: set[str]) -> str:
        """The message, with the remedy unless `reported` has it, to which it is added."""
        if self.remedy in {"", *reported}:
            return str(self)
        reported.add(self.remedy)
        return f"{self}; {self.remedy}"


@dataclass(frozen=True)
class _Encoding:
    """How rows of bytes become RGB.

    Attributes:
        to_rgb: [rows, W] or [rows, W, channels] -> [H, W, 3], of uint8 or uint16 as `depth` says.
        channels: values a pixel takes in its row.
        depth: bits of a value, 8 or 16.
        rows: rows of data for each row of pixels; more than one where planes follow each other.
        multiples: of which width and height must be.
    """

    to_rgb: Callable[[np.ndarray], np.ndarray]
    channels: int = 1
    depth: int = 8
    rows: Fraction = Fraction(1)
    multiples: tuple[int, int] = (1, 1)

    @property
    def pixel_bytes(self) -> int:
        return self.channels * self.depth // 8


def _cvt(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _nv24_to_rgb(planes: np.ndarray) -> np.ndarray:
    """[3 H, W]: luma, then full-size interleaved chroma, of which every second one is taken."""
    height, width = len(planes) // 3, planes.shape[1]
    chroma = planes[height:].reshape(height, width, 2)[::2, ::2].reshape(height // 2, width)
    return cv2.cvtColor(np.concatenate([planes[:height], chroma]), cv2.COLOR_YUV2RGB_NV12)


# Named by what cv2 calls the conversion to RGB. OpenCV names a Bayer pattern by its second row,
# second and third pixel; ROS by the first 2 x 2.
_COLOR: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "rgb": (3, np.ascontiguousarray),
    "bgr": (3, _cvt(cv2.COLOR_BGR2RGB)),
    "rgba": (4, _cvt(cv2.COLOR_RGBA2RGB)),
    "bgra": (4, _cvt(cv2.COLOR_BGRA2RGB)),
    "mono": (1, _cvt(cv2.COLOR_GRAY2RGB)),
    "bayer_rggb": (1, _cvt(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr": (1, _cvt(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg": (1, _cvt(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg": (1, _cvt(cv2.COLOR_BayerGB2RGB)),
}
_YUY2 = _Encoding(_cvt(cv2.COLOR_YUV2RGB_YUY2), channels=2, multiples=(2, 1))
_UYVY = _Encoding(_cvt(cv2.COLOR_YUV2RGB_UYVY), channels=2, multiples=(2, 1))
_PLANES = Fraction(3, 2)

_ENCODINGS = {
    **{f"{name}8": _Encoding(to_rgb, channels) for name, (channels, to_rgb) in _COLOR.items()},
    **{f"{name}16": _Encoding(to_rgb, channels, 16) for name, (channels, to_rgb) in _COLOR.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "nv12": _Encoding(_cvt(cv2.COLOR_YUV2RGB_NV12), rows=_PLANES, multiples=(2, 2)),
    "nv21": _Encoding(_cvt(cv2.COLOR_YUV2RGB_NV21), rows=_PLANES, multiples=(2, 2)),
    "nv24": _Encoding(_nv24_to_rgb, rows=Fraction(3), multiples=(2, 2)),
    # Colours without a name: in OpenCV's order, as cv_bridge publishes a cv::Mat by default.
    "8UC1": _Encoding(_cvt(cv2.COLOR_GRAY2RGB)),
    "8UC3": _Encoding(_cvt(cv2.COLOR_BGR2RGB), channels=3),
    "8UC4": _Encoding(_cvt(cv2.COLOR_BGRA2RGB), channels=4),
}
ENCODINGS = tuple(_ENCODINGS)
# sensor_msgs::image_encodings::isColor
_CHANNEL_ORDERED = {
    f"{name}{depth}" for name in ("rgb", "bgr", "rgba", "bgra") for depth in (8, 16)
}


def pixel_bytes(encoding: str) -> int:
    """Bytes from a pixel to the next one of its row. `encoding`: one of ENCODINGS."""
    return _ENCODINGS[encoding].pixel_bytes


def check_image_message(message: RawImage) -> None:
    """Check an image message without converting it.

    Raises:
        ImageRejectedError: unknown encoding, zero size or one that the encoding cannot have, rows
            shorter than the width needs, or fewer bytes than the rows take.
    """
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageRejectedError(
            "encoding",
            f"encoding {message.encoding!r} is not supported",
            f"use one of {', '.join(_ENCODINGS)}",
        )
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise ImageRejectedError("size", f"the image is empty: {width} x {height} pixels")
    if width % encoding.multiples[0] or height % encoding.multiples[1]:
        x, y = encoding.multiples
        raise ImageRejectedError(
            "size",
            f"width and height of {message.encoding} must be multiples of {x} and {y}, "
            f"not {width} x {height}",
        )
    if step < width * encoding.pixel_bytes:
        raise ImageRejectedError(
            "step",
            f"step is {step} bytes, but {width} pixels of {message.encoding} take "
            f"{width * encoding.pixel_bytes}",
        )
    rows = int(height * encoding.rows)
    if len(message.data) < rows * step:
        raise ImageRejectedError(
            "data",
            f"data is truncated: {len(message.data)} bytes instead of rows * step = "
            f"{rows} * {step} = {rows * step}",
        )


def image_to_rgb(message: RawImage) -> np.ndarray:
    """sensor_msgs/Image -> uint8 [H, W, 3] RGB; for rgb8 without padding, a view of its data.

    Values of 16 bits are scaled to 8 (65535 to 255).

    Raises:
        ImageRejectedError: as `check_image_message`.
    """
    check_image_message(message)
    encoding = _ENCODINGS[message.encoding]
    rgb = encoding.to_rgb(_rows(message, encoding))
    return rgb if encoding.depth == 8 else cv2.convertScaleAbs(rgb, alpha=255 / 65535)


def _rows(message: RawImage, encoding: _Encoding) -> np.ndarray:
    """The values without the padding of their rows: [rows, W] or [rows, W, channels]."""
    count, width, step = int(message.height * encoding.rows), message.width, message.step
    rows = np.frombuffer(message.data, np.uint8, count=count * step).reshape(count, step)
    values: np.ndarray = rows[:, : width * encoding.pixel_bytes]
    if encoding.depth == 16:
        order = ">u2" if message.is_bigendian else "<u2"
        values = np.ascontiguousarray(values).view(order).astype(np.uint16, copy=False)
    if encoding.channels > 1:
        values = values.reshape(count, width, encoding.channels)
    return values


def compressed_to_rgb(message: EncodedImage) -> np.ndarray:
    """sensor_msgs/CompressedImage (JPEG, 8-bit PNG, ...) -> uint8 [H, W, 3] RGB.

    `format` is read as image_transport's compressed plugin does: "rgb8; jpeg compressed bgr8" was
    rgb8 and is stored in OpenCV's order; without "compressed bgr" a colour image is stored with
    red and blue swapped; of a bayer_* image the mosaic is stored.

    Raises:
        ImageRejectedError: the data cannot be decoded, is a truncated JPEG, claims more than
            MAX_PIXELS, or holds depth or values of 16 bits.
    """
    encoding, separator, stored = message.format.partition(";")
    encoding = encoding.strip()
    if "compressedDepth" in stored:
        raise ImageRejectedError("encoding", f"format {message.format!r} is a depth image")
    if encoding.startswith("bayer_") and encoding.endswith("8") and encoding in _ENCODINGS:
        mosaic = _decode(message, cv2.IMREAD_GRAYSCALE)
        return _ENCODINGS[encoding].to_rgb(mosaic)
    decoded = _decode(message, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if separator and encoding in _CHANNEL_ORDERED and "compressed bgr" not in stored:
        return decoded
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def image_to_labels(message: RawImage) -> np.ndarray:
    """sensor_msgs/Image, mono8 or 8UC1 -> its values, uint8 [H, W].

    Raises:
        ImageRejectedError: as `check_image_message`, and for other encodings.
    """
    if message.encoding not in ("mono8", "8UC1"):
        raise ImageRejectedError(
            "encoding", f"encoding {message.encoding!r} holds no labels; use mono8 or 8UC1"
        )
    check_image_message(message)
    return np.ascontiguousarray(_rows(message, _ENCODINGS["mono8"]))


def compressed_to_labels(message: EncodedImage) -> np.ndarray:
    """sensor_msgs/CompressedImage without loss (PNG), up to 8 bit, one channel -> uint8 [H, W].

    Raises:
        ImageRejectedError: the data cannot be decoded, is a JPEG, or has other pixels.
    """
    if bytes(message.data[:2]) == JPEG_START:
        raise ImageRejectedError("encoding", "JPEG changes labels; use PNG")
    decoded = _decode(message, cv2.IMREAD_UNCHANGED)
    if decoded.ndim != 2 or decoded.dtype != np.uint8:
        raise ImageRejectedError(
            "encoding",
            f"pixels of {decoded.dtype}, {decoded.shape[2] if decoded.ndim > 2 else 1} channels: "
            "expected labels of 8 bit in one channel",
        )
    start = bytes(message.data[: _PNG_BIT_DEPTH + 1])
    if start.startswith(PNG_START) and (bits := start[_PNG_BIT_DEPTH]) < 8:
        decoded //= 255 // (2**bits - 1)  # OpenCV stretches them to 8
    return decoded


def _decode(message: EncodedImage, flags: int) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    start = bytes(data[: _PNG_BIT_DEPTH + 1])
    if start.startswith(PNG_START) and start[_PNG_BIT_DEPTH:] == b"\x10":
        raise ImageRejectedError(
            "encoding",
            "a PNG with 16 bits a channel, such as a depth image, cannot be used: publish 8 bits",
        )
    if _claimed_pixels(data) > MAX_PIXELS:
        raise ImageRejectedError(
            "size",
            f"the header of {data.size} bytes of format {message.format!r} claims more than "
            f"{MAX_PIXELS} pixels",
        )
    # Seen before it is decoded: libpng writes a line to stderr for each damaged file.
    damage = find_damage(data.tobytes())
    try:
        decoded = cv2.imdecode(data, flags) if data.size and not damage else None
    except cv2.error:  # e.g. a header that claims more pixels than OpenCV allows
        decoded = None
    if decoded is None:
        raise ImageRejectedError(
            "data",
            f"{data.size} bytes of format {message.format!r} cannot be decoded"
            + (f": {damage}" if damage else ""),
        )
    return decoded


def _claimed_pixels(data: np.ndarray) -> int:
    """By the header; 0 where Pillow does not know the format or the header is damaged."""
    try:
        with PIL.Image.open(io.BytesIO(data.tobytes())) as image:
            return image.width * image.height
    except PIL.Image.DecompressionBombError:
        return MAX_PIXELS + 1
    except Exception:  # its readers raise whatever their parsing hits
        return 0
