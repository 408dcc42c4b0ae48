"""How a camera is mounted, from the frames of a bag."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from camss_ros.bags.bag_frames import BagFrame
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.horizon import horizon_bounds, pitch_between
from camss_ros.projection.mount import MountEstimate, estimate_mount, road_edges


def mount_of_drive(
    frames: Iterable[BagFrame],
    camera: CameraModel,
    labeller: Callable[[BagFrame], np.ndarray | None],
    drivable: list[int],
    sky: list[int],
) -> MountEstimate:
    """Pitch and roll of a camera from a drive: from the edges of the road, or from what is between
    road and sky, whichever is surer.

    Args:
        frames: of the drive.
        camera: of the frames.
        labeller: label image uint8 [H, W] of a frame, of any size; None to pass over it.
        drivable, sky: class ids of the road and of the sky.

    Raises:
        ValueError: neither is seen in enough frames.
    """
    edges, bounds = [], []
    for frame in frames:
        labels = labeller(frame)
        if labels is not None:
            resized = camera.resized(*labels.shape)
            edges.append(road_edges(labels, resized, drivable))
            bounds.append(horizon_bounds(labels, resized, sky, drivable))
    between = pitch_between(bounds)
    try:
        found = estimate_mount(edges)
    except ValueError:
        if between is None:
            raise
        return between
    return between if between and between.pitch_error < found.pitch_error else found
