"""The pitch of a camera from what lies above and below the horizon, where no lines tell it.

On flat ground road is seen below the horizon only, and sky above it only, whatever hides a part of
either. The lowest sky and the highest road of a drive are bounds, on either side of the horizon,
and where the view along the road is open they are close.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.mount import MountEstimate

_SPECK = 1 / 50  # of the image's width: so many pixels may be a mistake
_LEAST_FRAMES = 10
_STRAY = 0.1  # share of the frames that may see something else: a hill, a mistake of the network


def horizon_bounds(
    labels: np.ndarray, camera: CameraModel, sky: Sequence[int], drivable: Sequence[int]
) -> tuple[float, float]:
    """The lowest sky and the highest road in a frame, as y (down) at depth 1; NaN where the frame
    has none.

    Args:
        labels: uint8 [H, W].
        camera: of that size.
        sky, drivable: class ids.
    """
    y = camera.rays[1]
    speck = 1 + round(labels.shape[1] * _SPECK)
    found = []
    for classes, sign in ((sky, 1), (drivable, -1)):
        down = np.sort(sign * y[np.isin(labels, classes) & ~np.isnan(y)])
        found.append(sign * float(down[-speck]) if len(down) >= speck else math.nan)
    return found[0], found[1]


def pitch_between(bounds: Sequence[tuple[float, float]]) -> MountEstimate | None:
    """The pitch of a camera without roll, from the bounds of each frame (`horizon_bounds`).

    It is taken to be as likely anywhere between the two bounds, whence its error. None where too
    few frames have both, and where sky is not above road: the ground is not flat, or the camera
    leans.
    """
    known = np.array(bounds).reshape(-1, 2)
    known = known[~np.isnan(known).any(axis=1)]
    if len(known) < _LEAST_FRAMES:
        return None
    sky = math.atan(np.quantile(known[:, 0], 1 - _STRAY))
    road = math.atan(np.quantile(known[:, 1], _STRAY))
    if sky >= road:
        return None
    error = (road - sky) / math.sqrt(12)  # the standard deviation of a uniform distribution
    return MountEstimate(-(sky + road) / 2, error, None, math.inf, len(known), "sky and road")
