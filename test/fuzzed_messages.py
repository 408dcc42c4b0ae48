"""Any message of a camera: some good, most of them not, every field at its limits too."""

from __future__ import annotations

import array
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from camss_ros.images.encodings import ENCODINGS

_UINT32 = st.one_of(
    st.integers(0, 64), st.integers(0, 2**32 - 1), st.sampled_from([2**31, 2**32 - 1])
)
# No surrogates: they are no text, and rclpy sends none.
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_FLOAT = st.one_of(st.floats(), st.sampled_from([0.0, float("nan"), float("inf"), 1e308, -1e308]))


def _headers() -> st.SearchStrategy[Header]:
    stamps = st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=_UINT32)
    return st.builds(Header, stamp=stamps, frame_id=_TEXT)


def _bytes(content: bytes) -> array.array:
    return array.array("B", content)


@st.composite
def any_image(draw: st.DrawFn) -> Image:
    """sensor_msgs/Image: right for its encoding, or with some fields that are anything."""
    encoding = draw(st.sampled_from(ENCODINGS))
    height, width = draw(st.integers(1, 32)), draw(st.integers(1, 32))
    if draw(st.booleans()):  # what every encoding can have
        height, width = 2 * height, 2 * width
    step = 8 * width + draw(st.sampled_from([0, 1, 13]))
    image = Image(
        header=draw(_headers()),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=draw(st.integers(0, 255)),
        step=step,
        data=_bytes(draw(st.binary(min_size=1, max_size=8)) * (3 * height * step)),
    )
    fields: dict[str, st.SearchStrategy[Any]] = {
        "height": _UINT32,
        "width": _UINT32,
        "step": _UINT32,
        "encoding": st.one_of(_TEXT, st.sampled_from(["", "16UC1", "32FC1", "rgb8 ", "RGB8"])),
        "data": st.binary(max_size=300).map(_bytes),
    }
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)):
        setattr(image, name, draw(fields[name]))
    return image


@st.composite
def any_compressed_image(draw: st.DrawFn) -> CompressedImage:
    """sensor_msgs/CompressedImage: a file that is whole, cut, changed in places, or none."""
    suffix = draw(st.sampled_from([".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"]))
    content = bytearray(_file(suffix, *draw(st.sampled_from([(8, 8), (33, 47), (1, 1)]))))
    damage = draw(st.sampled_from(["none", "cut", "changed", "garbage", "prefixed"]))
    if damage == "cut":
        del content[draw(st.integers(0, len(content))) :]
    elif damage == "changed":
        for _ in range(draw(st.integers(1, 8))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    elif damage == "garbage":
        content = bytearray(draw(st.binary(max_size=300)))
    elif damage == "prefixed":  # a magic number, and what does not belong to it
        content = content[: draw(st.integers(1, 40))] + draw(st.binary(max_size=300))
    known = ["jpeg", "png", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed ",
             "16UC1; compressedDepth png", "bgr8; png compressed ", "; ;;"]  # fmt: skip
    return CompressedImage(
        header=draw(_headers()),
        format=draw(st.one_of(st.sampled_from(known), _TEXT)),
        data=_bytes(bytes(content)),
    )


@lru_cache
def _file(suffix: str, height: int, width: int) -> bytes:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    _, content = cv2.imencode(suffix, pixels)
    return content.tobytes()


@st.composite
def any_camera_info(draw: st.DrawFn) -> CameraInfo:
    """sensor_msgs/CameraInfo with anything in it."""
    info = CameraInfo(
        header=draw(_headers()),
        height=draw(_UINT32),
        width=draw(_UINT32),
        distortion_model=draw(_TEXT),
        d=draw(st.lists(_FLOAT, max_size=20)),
        binning_x=draw(_UINT32),
        binning_y=draw(_UINT32),
        roi=RegionOfInterest(
            x_offset=draw(_UINT32),
            y_offset=draw(_UINT32),
            height=draw(_UINT32),
            width=draw(_UINT32),
            do_rectify=draw(st.booleans()),
        ),
    )
    info.k = draw(st.lists(_FLOAT, min_size=9, max_size=9))
    info.r = draw(st.lists(_FLOAT, min_size=9, max_size=9))
    info.p = draw(st.lists(_FLOAT, min_size=12, max_size=12))
    return info
