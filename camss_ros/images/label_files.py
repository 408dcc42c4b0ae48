"""Label files to class ids: grey or indexed values, a channel of a panoptic image, colours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from camss_ros.git_lfs import why_unreadable
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import VOID
from camss_ros.images.label_sets import LabelSet

LabelReader: TypeAlias = Callable[[Path, LabelSet], np.ndarray]
"""Path and the label set of the file -> class ids uint8 [H, W], 255 for void; raises DataError
for what is no such image and for values that the label set does not know."""


class LabelFiles:
    """Label files of one label set, read as the classes of another.

    Args:
        label_sets: that of the files, then those that labels are mapped onto, one after the
            other; the last one is `label_set`.
        read: reads a file; by default as its label set says.

    Raises:
        LabelSetError: there is no mapping from one onto the next.
    """

    def __init__(self, label_sets: Sequence[LabelSet], read: LabelReader | None = None) -> None:
        self.label_set = label_sets[-1]
        self._of_files, self._read = label_sets[0], read or read_labels
        self._table: np.ndarray = np.arange(256, dtype=np.uint8)
        for one, other in itertools.pairwise(label_sets):
            self._table = one.to(other)[self._table]

    def read(self, path: Path) -> np.ndarray:
        """The label of a file, uint8 [H, W], 255 for void.

        Raises:
            DataError: as a `LabelReader`.
        """
        return self._table[self._read(path, self._of_files)]

    def read_of(self, path: Path, image: np.ndarray, image_path: Path) -> np.ndarray:
        """The label of an image.

        Args:
            path: of the label.
            image: [H, W, 3].
            image_path: its file, for the message.

        Returns:
            uint8 [H, W], 255 for void.

        Raises:
            DataError: as of `read`, or the two differ in size.
        """
        label = self.read(path)
        check_size(label, path, image, image_path)
        return label


def check_size(label: np.ndarray, path: Path, image: np.ndarray, image_path: Path) -> None:
    """Raise DataError, which names the files, where a label is not of its image's size."""
    if label.shape == image.shape[:2]:
        return
    (height, width), (label_height, label_width) = image.shape[:2], label.shape
    turned = (
        " (does its EXIF part say that it is turned?)" if label.T.shape == (height, width) else ""
    )
    raise DataError(
        f"sizes differ: {image_path} is {width} x {height}{turned}, "
        f"{path} is {label_width} x {label_height}"
    )


def read_labels(path: Path, label_set: LabelSet) -> np.ndarray:
    """uint8 [H, W] of what the label set says that its files hold: class ids or colours.

    Raises:
        DataError: as a `LabelReader`.
    """
    read = read_colors if label_set.label_files == "colors" else read_ids
    return read(path, label_set)


def read_ids(path: Path, label_set: LabelSet) -> np.ndarray:
    """uint8 [H, W] class ids, stored as grey values of 1 to 16 bits or palette indices.

    Raises:
        DataError: as a `LabelReader`.
    """
    expected = (
        "class ids, grey or indexed (or the classes' colours, where the label set says "
        "`label_files: colors`)"
    )
    # Pillow keeps the indices of palette images, of which OpenCV returns the colours.
    image = _open(path, ("1", "L", "P", "I"), expected)
    return _ids_of_values(_stored_values(image, path), path, label_set)


def read_red_channel(path: Path, label_set: LabelSet) -> np.ndarray:
    """uint8 [H, W] class ids, stored in the red channel of a panoptic image, whose green and blue
    number the instance.

    Raises:
        DataError: as a `LabelReader`.
    """
    image = _open(path, ("RGB",), "a panoptic image, 8-bit RGB with the class in red")
    return _ids_of_values(np.asarray(image)[..., 0], path, label_set)


def read_colors(path: Path, label_set: LabelSet) -> np.ndarray:
    """uint8 [H, W] class ids, stored as the colours of the label set.

    Raises:
        DataError: as a `LabelReader`.
    """
    image = _open(path, ("RGB", "RGBA", "P"), "the classes' colours, 8-bit RGB")
    colors = np.asarray(image.convert("RGB")).astype(np.int32)
    codes = colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2]
    known = {_code(label_set.void_color): VOID}
    known |= {_code(c.color): c.id for c in label_set.classes}
    values, inverse = np.unique(codes, return_inverse=True)
    unknown = [value for value in values.tolist() if value not in known]
    if unknown:
        names = ", ".join(f"({v >> 16}, {v >> 8 & 255}, {v & 255})" for v in unknown[:8])
        raise DataError(
            f"label {path} has the colours {names}{_more(unknown)}: "
            f"label set {label_set.name} has no class of that colour"
        )
    ids = np.array([known[value] for value in values.tolist()], np.uint8)
    return ids[inverse].reshape(codes.shape)


def _open(path: Path, modes: tuple[str, ...], expected: str) -> Image.Image:
    try:
        with Image.open(path) as image:  # closes the file where it is damaged, too
            image.load()
    except (
        UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError
    ) as error:  # fmt: skip
        reason = why_unreadable(path, error)
        raise DataError(f"{path} can't be read as an image: {reason}") from error
    # 16-bit grey is I, or I;16 and the like, after format and version of Pillow.
    if image.mode.partition(";")[0] not in modes:
        raise DataError(f"label {path} has pixels of mode {image.mode}: expected {expected}")
    if image.format == "JPEG":
        raise DataError(f"label {path} is a JPEG, which alters the classes: expected a PNG")
    return image


def _stored_values(image: Image.Image, path: Path) -> np.ndarray:
    """The values as the file has them: Pillow stretches grey of other depths to 8 or 16 bits."""
    values = np.asarray(image)
    with Image.open(path) as header:  # loading forgets how the file is laid out
        layout = header.tile[0][3] if header.tile else None
    # Such as "L;4", or ("L", 15) in a PGM with values up to 15.
    kind, *rest = layout if isinstance(layout, tuple) else (layout,)
    if kind in ("L;2", "L;4"):
        return values // (85 if kind == "L;2" else 17)
    if image.format == "PPM" and len(rest) == 1:
        return np.rint(values * (rest[0] / (255 if image.mode == "L" else 65535))).astype(np.int32)
    return values.astype(np.uint8) if values.dtype == bool else values


def _ids_of_values(values: np.ndarray, path: Path, label_set: LabelSet) -> np.ndarray:
    known = np.append(label_set.from_file_values(), -1)  # the last one: of larger values
    small = values if values.dtype == np.uint8 else values.clip(-1, 256).astype(np.int16)
    label = known[small]
    if (label < 0).any():
        unknown = np.unique(values[label < 0]).tolist()
        void = " or ".join(map(str, label_set.void_values)) or "nothing"
        raise DataError(
            f"label {path} has the values {', '.join(map(str, unknown[:8]))}{_more(unknown)}: "
            f"label set {label_set.name} has the classes 0 to {len(label_set.classes) - 1}, "
            f"and {void} for void"
        )
    return label.astype(np.uint8)


def _more(values: list[int]) -> str:
    return f" and {len(values) - 8} more" if len(values) > 8 else ""


def _code(color: tuple[int, int, int]) -> int:
    red, green, blue = color
    return red << 16 | green << 8 | blue
