"""The calibration of a camera that nobody calibrated."""

from __future__ import annotations

import math
from typing import Any


def pinhole(height: int, width: int, horizontal_fov: float) -> dict[str, Any]:
    """The fields of sensor_msgs/CameraInfo that say how it projects, by name (k, d, r, p, ...).

    An undistorted pinhole with square pixels that looks through the image centre. `height` and
    `width` in pixels; `horizontal_fov` in degrees, between 0 and 180.
    """
    focal = width / 2 / math.tan(math.radians(horizontal_fov) / 2)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return {
        "height": height,
        "width": width,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
