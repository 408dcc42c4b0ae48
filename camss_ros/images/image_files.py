"""Image files: which they are, and decoding them, with damaged ones told from whole ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from camss_ros.git_lfs import why_unreadable
from camss_ros.images.image_damage import find_damage

_SILENT = 0  # cv2.utils.logging.LOG_LEVEL_SILENT

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"
)  # fmt: skip


def visible(folder: Path) -> Iterator[Path]:
    """What is in a folder, without hidden files, such as the `._` ones that macOS leaves.

    Raises OSError where it can't be read.
    """
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def read_image(path: Path) -> np.ndarray | None:
    """uint8 [H, W, 3] RGB, or None where the file is missing, damaged or truncated.

    Turned upright where its EXIF part says how.
    """
    image = read_pixels(path, cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_pixels(path: Path, flags: int) -> np.ndarray | None:
    """The image as OpenCV reads it with these flags; None as of `read_image`."""
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
    """The file of uint8 [H, W] or [H, W, 3] RGB in the format of a suffix; `flags` are OpenCV's.

    Raises ValueError where the format has no room for it.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(suffix, image, flags)
    if not ok:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise ValueError(f"no {suffix} file can be made of an image of {size} pixels")
    return data.tobytes()


def silence_opencv() -> None:
    """Keep OpenCV from writing a line for each image that it cannot decode."""
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
