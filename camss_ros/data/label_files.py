"""Label files to class ids: grey or indexed values, a channel of a panoptic image, colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from camss_ros.data.data_error import DataError
from camss_ros.data.label_sets import LabelSet
from camss_ros.git_lfs import why_unreadable
from camss_ros.model.label_class import VOID

LabelReader: TypeAlias = Callable[[Path, LabelSet], np.ndarray]
"""Path and the label set of the file -> class ids uint8 [H, W], 255 for void; raises DataError
for what is no such image and for values that the label set does not know."""


def read_ids(path: Path, label_set: LabelSet) -> np.ndarray:
    """Class ids as grey values or palette indices."""
    # Pillow keeps the indices of palette images, of which OpenCV returns the colours.
    with _open(path, ("L", "P"), "class ids, 8-bit grey or indexed") as image:
        return _ids_of_values(np.asarray(image), path, label_set)


def read_red_channel(path: Path, label_set: LabelSet) -> np.ndarray:
    """Class ids in the red channel of a panoptic image; green and blue number the instance."""
    with _open(path, ("RGB",), "a panoptic image, 8-bit RGB with the class in red") as image:
        return _ids_of_values(np.asarray(image)[..., 0], path, label_set)


def read_colors(path: Path, label_set: LabelSet) -> np.ndarray:
    """Class ids as the colours of the label set."""
    with _open(path, ("RGB", "RGBA", "P"), "the classes' colours, 8-bit RGB") as image:
        colors = np.asarray(image.convert("RGB")).astype(np.int32)
    codes = colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2]
    known = {_code(label_set.void_color): VOID}
    known |= {_code(c.color): c.id for c in label_set.classes}
    values, inverse = np.unique(codes, return_inverse=True)
    unknown = [value for value in values.tolist() if value not in known]
    if unknown:
        names = ", ".join(f"({v >> 16}, {v >> 8 & 255}, {v & 255})" for v in unknown[:8])
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise DataError(
            f"label {path} has the colours {names}{more}: "
            f"label set {label_set.name} has no class of that colour"
        )
    ids = np.array([known[value] for value in values.tolist()], np.uint8)
    return ids[inverse].reshape(codes.shape)


def _open(path: Path, modes: tuple[str, ...], expected: str) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (
        UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError
    ) as error:  # fmt: skip
        reason = why_unreadable(path, error)
        raise DataError(f"{path} can't be read as an image: {reason}") from error
    if image.mode not in modes:
        raise DataError(f"label {path} has pixels of mode {image.mode}: expected {expected}")
    return image


def _ids_of_values(values: np.ndarray, path: Path, label_set: LabelSet) -> np.ndarray:
    label = label_set.from_file_values()[values]
    if (label < 0).any():
        unknown = ", ".join(map(str, np.unique(values[label < 0]).tolist()))
        void = " or ".join(map(str, label_set.void_values))
        raise DataError(
            f"label {path} has the values {unknown}: label set {label_set.name} has the "
            f"classes 0 to {len(label_set.classes) - 1}, and {void} for void"
        )
    return label.astype(np.uint8)


def _code(color: tuple[int, int, int]) -> int:
    red, green, blue = color
    return red << 16 | green << 8 | blue
