"""Frames to measure with: the synthetic street, as a camera sends it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from camss_ros.evaluation.result_folder import write_image
from camss_ros.images.message_fields import image_fields
from camss_ros.street.synthetic import SyntheticStreet

ENCODING = "bgr8"  # the usual one of a camera, which has to be converted


def street_frames(size: tuple[int, int], count: int) -> list[np.ndarray]:
    """Frames uint8 [H, W, 3] RGB of (height, width), a second of driving between two of them."""
    # enlarged where needed: drawing large ones takes seconds, and nobody looks at them
    street = SyntheticStreet()
    frames = [street.frame(15 * index)[0] for index in range(count)]
    return [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR) for frame in frames]


def camera_images(frames: Iterable[np.ndarray]) -> list[SimpleNamespace]:
    """The frames as messages in `ENCODING`, with all fields of sensor_msgs/Image but a header."""
    pixels = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
    return [SimpleNamespace(**image_fields(x, ENCODING), data=x.tobytes()) for x in pixels]


def write_street(folder: Path, size: tuple[int, int], count: int) -> None:
    """Make a folder with so many images of the synthetic street, of (height, width)."""
    folder.mkdir()
    for index, frame in enumerate(street_frames(size, count)):
        write_image(folder / f"{index}.png", frame)
