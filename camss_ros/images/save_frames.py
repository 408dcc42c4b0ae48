"""Writing frames to a folder that `open_frames` reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2

from camss_ros.images.frames import FrameSource

_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def save_frames(
    source: FrameSource, folder: Path, count: int, on_frame: Callable[[], None] = lambda: None
) -> None:
    """Write the first `count` frames to `folder`/images/NAME.png, labels to `folder`/labels.

    `on_frame` is called after each. Raises OSError where that can't be done.
    """
    for frame in itertools.islice(source, count):
        pictures = {"images": cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)}
        if frame.label is not None:
            pictures["labels"] = frame.label
        for part, picture in pictures.items():
            path = folder / part / f"{frame.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), picture, _FAST):
                raise OSError(f"can't write '{path}'")
        on_frame()
