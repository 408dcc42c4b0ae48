"""What the nodes publish as ROS messages; images come back by `images/encodings.py`."""

from __future__ import annotations

import array
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.images.image_files import encode_image
from camss_ros.images.label_class import LabelClass
from camss_ros.images.message_fields import encode_runs, fill_label_info, image_fields


def to_image_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """sensor_msgs/Image without padding.

    Args:
        pixels: uint8 [H, W] or [H, W, C]; as 32FC1 float32 [H, W], of depth metres (REP 118).
    """
    data = to_array(np.ascontiguousarray(pixels).view(np.uint8).data)
    return Image(header=header, data=data, **image_fields(pixels, encoding))


def to_jpeg_message(image: np.ndarray, quality: int, header: Header) -> CompressedImage:
    """uint8 [H, W, 3] RGB -> sensor_msgs/CompressedImage.

    Args:
        quality: 1 to 100.

    Raises:
        ValueError: JPEG has no room for an image of that size.
    """
    jpeg = encode_image(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)
    return CompressedImage(header=header, format="jpeg", data=to_array(jpeg))


def to_runs_message(labels: np.ndarray, header: Header) -> Image:
    """uint8 [H, W] -> sensor_msgs/Image as Autoware's semantic segmentation publishes it.

    Labelled mono8 with the size of the image, but the data are runs (`encode_runs`).
    """
    message = to_image_message(labels[:0], "mono8", header)
    message.height, message.width = labels.shape
    message.step = labels.shape[1]
    message.data = to_array(encode_runs(labels))
    return message


def to_png_message(labels: np.ndarray, header: Header) -> CompressedImage:
    """uint8 [H, W] -> sensor_msgs/CompressedImage without loss, as image_transport writes mono8.

    Raises:
        ValueError: PNG has no room for an image of that size.
    """
    png = encode_image(labels, ".png", cv2.IMWRITE_PNG_COMPRESSION, 1)
    return CompressedImage(header=header, format="mono8; png compressed ", data=to_array(png))


def to_array(buffer: bytes | memoryview, code: str = "B") -> array.array:
    """The data of a message: rclpy takes an array without looking at each of its elements, unlike
    bytes or a list.

    Args:
        code: B for uint8, b for int8, f for float32.
    """
    data = array.array(code)
    data.frombytes(buffer)
    return data


def to_diagnostic_status(
    name: str, level: int, message: str, values: Mapping[str, object], hardware: str = ""
) -> DiagnosticStatus:
    """diagnostic_msgs/DiagnosticStatus, of this computer where no hardware is named."""
    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=message,
        hardware_id=hardware or socket.gethostname(),
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def diagnostic_array(stamp: Time, statuses: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    """The message of the `/diagnostics` topic."""
    array = DiagnosticArray(status=list(statuses))
    array.header.stamp = stamp
    return array


def nanoseconds(stamp: Time) -> int:
    """A stamp in ns, whatever it holds."""
    return stamp.sec * 10**9 + stamp.nanosec


def label_info_type() -> type | None:
    """vision_msgs/LabelInfo, or None where vision_msgs is not installed (it has no wheel)."""
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        return None
    return LabelInfo


def label_info_message(classes: Sequence[LabelClass], header: Header, threshold: float) -> Any:
    """vision_msgs/LabelInfo; see `fill_label_info`."""
    from vision_msgs.msg import LabelInfo, VisionClass

    return fill_label_info(LabelInfo, VisionClass, classes, header, threshold)
