"""How far away what is drawn is: the plane of the face that each pixel of the labels shows."""

from __future__ import annotations

import numpy as np

from camss_ros.street.camera import SceneCamera
from camss_ros.street.mesh import Mesh


class DepthPicture:
    """Which face each pixel shows, and the planes of the faces.

    A plane is q [3] with q . p = 1 for its points p in camera coordinates, so that along the ray
    (x, y, 1) of a pixel the depth is 1 / (q . ray). Sky and what is behind the street have none.

    Attributes:
        faces: int32 [H, W], number of the face, 0 for none; what fills the labels fills it too.
    """

    def __init__(self, height: int, width: int) -> None:
        self.faces = np.zeros((height, width), np.int32)
        self._planes: list[np.ndarray] = [np.zeros(3)]

    def add(self, plane: np.ndarray) -> int:
        """The number of a face that is drawn next."""
        self._planes.append(plane)
        return len(self._planes) - 1

    def metres(self, camera: SceneCamera) -> np.ndarray:
        """float32 [H, W] along the optical axis, NaN where there is nothing."""
        rows, columns = np.mgrid[: camera.height, : camera.width]
        centre_x, centre_y = camera.intrinsics[:2, 2]
        x, y = (columns - centre_x) / camera.focal, (rows - centre_y) / camera.focal
        planes = np.array(self._planes)[self.faces]
        nearness = planes[..., 0] * x + planes[..., 1] * y + planes[..., 2]
        with np.errstate(divide="ignore"):
            return np.where(nearness > 1e-4, 1 / nearness, np.nan).astype(np.float32)


def mesh_planes(
    mesh: Mesh, seen: np.ndarray, starts: np.ndarray, camera: SceneCamera
) -> np.ndarray:
    """float [F, 3], the plane of each face; of a limb, that through its axis facing the camera.

    Args:
        seen: [N, 3], the vertices in camera coordinates.
        starts: int [F], the first vertex of each face.
    """
    corner = seen[starts]
    normals = mesh.normals @ camera.rotation.T
    limb = mesh.counts == 2
    along = seen[starts[limb] + 1] - corner[limb]
    normals[limb] = np.cross(along, np.cross(corner[limb] + along / 2, along))
    return plane_of(corner, normals)


def plane_of(point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """q [..., 3] of planes through points, both in camera coordinates; 0 for one seen edge-on."""
    distance = np.einsum("...i,...i->...", normal, point)[..., None]
    safe = np.where(np.abs(distance) < 1e-9, 1.0, distance)
    return np.where(np.abs(distance) < 1e-9, 0.0, normal / safe)
