"""Shapes that people have drawn, as pixels, in the way of the tools that they drew them with."""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw

from camss_ros.images.label_class import VOID

Points: TypeAlias = Sequence[Sequence[float]]
"""(x, y) of each corner, in pixels."""

_FAR = 2**15  # of coordinates; beyond it those of OpenCV overflow


def blank(height: object, width: object, shape: tuple[int, int]) -> np.ndarray:
    """A label image of void, uint8 [H, W].

    Args:
        height, width: of the image by the export.
        shape: (height, width) that it has.

    Raises:
        ValueError: the two differ.
    """
    if (height, width) != shape:
        raise ValueError(
            f"its image is {shape[1]} x {shape[0]}, by the export {width!r} x {height!r}"
        )
    return np.full(shape, VOID, np.uint8)


def polygon_of_labelme(shape: tuple[int, int], kind: str, points: Points) -> np.ndarray:
    """bool [H, W]: a polygon, rectangle or circle as LabelMe's `shape_to_mask` has it, with its
    outline. Raises ValueError."""
    canvas = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    corners = _checked(points)
    if kind in ("polygon", "oriented_rectangle") and len(corners) > 2:
        draw.polygon(corners, fill=1, outline=1)
    elif kind == "rectangle" and len(corners) == 2:
        (x, y), (other_x, other_y) = corners
        box = [min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y)]
        draw.rectangle(box, fill=1, outline=1)
    elif kind == "circle" and len(corners) == 2:
        (x, y), (edge_x, edge_y) = corners
        radius = float(np.hypot(x - edge_x, y - edge_y))
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
    else:
        raise ValueError(f"a {kind!r} with {len(corners)} points covers no area")
    return np.asarray(canvas, dtype=bool)


def polygon_of_supervisely(
    shape: tuple[int, int], exterior: Points, interior: Sequence[Points]
) -> np.ndarray:
    """bool [H, W]: a polygon with holes as Supervisely's `Polygon` has it. Raises ValueError."""
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [_corners(exterior)], 1)
    if interior:
        cv2.fillPoly(canvas, [_corners(hole) for hole in interior], 0)
    return canvas.astype(bool)


def bitmap(text: Any) -> np.ndarray:
    """bool [h, w]: what is not transparent, or not black, in an image file in base64.

    So LabelMe keeps a mask, and Supervisely, packed with zlib. Raises ValueError.
    """
    try:
        data = base64.b64decode(text, validate=False)
        if data[:1] == b"\x78":
            data = zlib.decompress(data)
        with Image.open(io.BytesIO(data)) as image:
            if "transparency" in image.info or image.mode in ("RGBA", "LA"):
                return np.asarray(image.convert("RGBA"))[..., 3] > 0
            return np.asarray(image.convert("L")) > 0
    except (
        binascii.Error,
        zlib.error,
        OSError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(f"a mask that can't be decoded ({error})") from error


def paste(label: np.ndarray, mask: np.ndarray, x: int, y: int, value: int) -> None:
    """Set the pixels under a mask; what of it is outside the label is left out.

    Args:
        label: uint8 [H, W], which is changed.
        mask: bool [h, w].
        x, y: of the mask's upper left corner in the label, pixels.
        value: class id.
    """
    height, width = mask.shape
    under = label[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    inside = mask[max(0, -y) :, max(0, -x) :][: under.shape[0], : under.shape[1]]
    under[inside] = value


def _checked(points: Points) -> list[tuple[float, float]]:
    corners = [(float(x), float(y)) for x, y in points]
    # written so that NaN is refused as well
    if not all(-_FAR < value < _FAR for corner in corners for value in corner):
        raise ValueError("a corner far outside the image")
    return corners


def _corners(points: Points) -> np.ndarray:
    corners = _checked(points)
    if len(corners) < 3:
        raise ValueError(f"a polygon with {len(corners)} points covers no area")
    return np.round(corners).astype(np.int32)
