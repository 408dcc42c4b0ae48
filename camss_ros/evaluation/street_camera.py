"""The camera of the synthetic street as the projection takes one."""

from __future__ import annotations

from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.transforms import Mount
from camss_ros.street.camera import SceneCamera


def camera_of(camera: SceneCamera) -> CameraModel:
    """Its calibration."""
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    return CameraModel(camera.height, camera.width, fx, fy, cx, cy)


def mount_of(camera: SceneCamera) -> Mount:
    """Where it is above the ground."""
    return Mount(camera.y, camera.pitch, camera.roll)
