"""Image files: which they are, decoding them, damaged ones found out, encoding."""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath

import cv2
import numpy as np

from camss_ros.git_lfs import why_unreadable


class DataError(ValueError):
    """A data set is not laid out, or a file does not hold, what was expected; says which."""


_SILENT = 0  # cv2.utils.logging.LOG_LEVEL_SILENT

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"
)  # fmt: skip


def visible(folder: Path) -> Iterator[Path]:
    """What is in a folder, without hidden files, such as the `._` ones that macOS leaves.

    Raises:
        OSError: it can't be read.
    """
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def composed(name: str) -> str:
    """A file's name, to compare with others: macOS decomposes letters with accents (NFD), which are
    one character elsewhere (NFC)."""
    return unicodedata.normalize("NFC", name)


def stem(path: PurePath) -> str:
    """The file's name without suffix, `composed`."""
    return composed(path.stem)


def read_image(path: Path) -> np.ndarray | None:
    """uint8 [H, W, 3] RGB, or None where the file is missing, damaged or truncated.

    Turned upright where its EXIF part says how.
    """
    image = read_pixels(path, cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_pixels(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray | None:
    """As `cv2.imread`, also of names that are no UTF-8, on which that crashes.

    None where the file is missing, damaged or truncated.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if not data or find_damage(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # e.g. a header that claims more pixels than OpenCV allows
        return None


def encode_image(image: np.ndarray, suffix: str, *flags: int) -> bytes:
    """The bytes of an image file.

    Args:
        image: uint8 [H, W] or [H, W, 3] RGB.
        suffix: of the format, such as ".png".
        flags: OpenCV's, of `cv2.imencode`.

    Raises:
        ValueError: the format has no room for it.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(suffix, image, flags)
    if not ok:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise ValueError(f"no {suffix} file can be made of an image of {size} pixels")
    return data.tobytes()


def silence_decoders() -> None:
    """Keep OpenCV and Pillow from writing a line for each image that they cannot decode."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")
    if hasattr(cv2, "setLogLevel"):  # before 4.13
        cv2.setLogLevel(_SILENT)
    else:
        cv2.utils.logging.setLogLevel(_SILENT)


def why_no_image(path: Path) -> str:
    """What to say of a file that gave no image: no permission, say, or that it is none."""
    try:
        path.open("rb").close()
    except OSError as error:
        return f"can't read {path}: {error.strerror}"
    return f"{path} can't be read as an image: {why_unreadable(path, 'damaged or truncated?')}"


# Decoders fill what is missing in a file with grey.
JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
# The bytes of a marker other than those that stand within compressed pixels.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
_START_OF_IMAGE, _END_OF_IMAGE = 0xD8, 0xD9


def find_damage(data: bytes) -> str:
    """What is wrong with a JPEG or PNG, in a few words; "" where nothing is seen."""
    if data.startswith(JPEG_START) and not _is_whole_jpeg(data):
        return "the JPEG is truncated"
    if data.startswith(PNG_START) and not _is_whole_png(data):
        return "the PNG is damaged"
    return ""


def _is_whole_jpeg(data: bytes) -> bool:
    """Whether its end marker comes: one of its own, not that of a thumbnail within a segment."""
    place = len(JPEG_START)
    while found := _MARKER.search(data, place):
        place = found.end()
        marker = data[place - 1]
        if marker == _END_OF_IMAGE:
            return True
        if marker != _START_OF_IMAGE:  # all others have a length, which counts its own two bytes
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return False


def _is_whole_png(data: bytes) -> bool:
    """Whether every chunk up to the last has its checksum: length, type, content, CRC-32."""
    view = memoryview(data)
    place = len(PNG_START)
    while place + 12 <= len(view):
        end = place + 8 + int.from_bytes(view[place : place + 4], "big")
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return False
        if view[place + 4 : place + 8] == b"IEND":
            return True
        place = end + 4
    return False
