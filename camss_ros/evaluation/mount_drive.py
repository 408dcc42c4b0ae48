"""How a camera is mounted, from the frames of a bag."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from camss_ros.bags.bag_frames import BagFrame
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.mount import MountEstimate, estimate_mount, road_edges


def mount_of_drive(
    frames: Iterable[BagFrame],
    camera: CameraModel,
    labeller: Callable[[BagFrame], np.ndarray | None],
    drivable: list[int],
) -> MountEstimate:
    """Pitch and roll of a camera from a drive.

    Args:
        frames: of the drive.
        camera: of the frames.
        labeller: label image uint8 [H, W] of a frame, of any size; None to pass over it.
        drivable: class ids of the road.

    Raises:
        ValueError: too few frames with a straight edge of the road.
    """
    edges = []
    for frame in frames:
        labels = labeller(frame)
        if labels is not None:
            edges.append(road_edges(labels, camera.resized(*labels.shape), drivable))
    return estimate_mount(edges)
