"""Decoding image files, with damaged ones told from whole ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from camss_ros.git_lfs import why_unreadable

_SILENT = 0  # cv2.utils.logging.LOG_LEVEL_SILENT

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def read_image(path: Path) -> np.ndarray | None:
    """uint8 [H, W, 3] RGB, or None where the file is missing, damaged or truncated."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    # The decoders fill what a truncated file lacks with grey or black and report success.
    if not data or _truncated(data):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # e.g. a header that claims more pixels than OpenCV allows
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


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


def _truncated(data: bytes) -> bool:
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data
    return data.startswith(b"\x89PNG") and b"IEND" not in data
