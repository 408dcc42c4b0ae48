"""A pinhole camera in a world with x to the right, y up and z along the street (metres)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.3
"""Depth in metres in front of which everything is cut away."""


@dataclass(frozen=True)
class SceneCamera:
    """Position in metres, angles in radians (yaw right, pitch down, roll clockwise), focal length
    and image size in pixels."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    roll: float
    focal: float
    height: int
    width: int

    @cached_property
    def position(self) -> np.ndarray:
        return np.array([self.x, self.y, self.z])

    @cached_property
    def rotation(self) -> np.ndarray:
        """[3, 3]; rows are the camera's right, down and forward axes in the world."""
        sin, cos = math.sin, math.cos
        right = np.array([cos(self.yaw), 0.0, -sin(self.yaw)])
        level = np.array([sin(self.yaw), 0.0, cos(self.yaw)])
        up = np.array([0.0, 1.0, 0.0])
        forward = level * cos(self.pitch) - up * sin(self.pitch)
        down = -(up * cos(self.pitch) + level * sin(self.pitch))
        rolled_right = right * cos(self.roll) + down * sin(self.roll)
        rolled_down = down * cos(self.roll) - right * sin(self.roll)
        return np.stack([rolled_right, rolled_down, forward])

    @cached_property
    def intrinsics(self) -> np.ndarray:
        centre_x, centre_y = (self.width - 1) / 2, (self.height - 1) / 2
        return np.array([[self.focal, 0, centre_x], [0, self.focal, centre_y], [0, 0, 1.0]])

    @property
    def horizontal_fov(self) -> float:
        """Degrees that the width of the image sees."""
        return math.degrees(2 * math.atan(self.width / 2 / self.focal))

    @property
    def horizon(self) -> float:
        """Image row of the horizon at the middle column."""
        return (self.height - 1) / 2 - self.focal * math.tan(self.pitch)

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points [N, 3] -> camera coordinates [N, 3] (right, down, depth)."""
        return (points - self.position) @ self.rotation.T

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Camera coordinates [N, 3] with positive depth -> pixels [N, 2] (column, row)."""
        centre = self.intrinsics[:2, 2]
        return points[:, :2] * (self.focal / points[:, 2:]) + centre

    def plane_homography(self, origin: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The map of a plane in the world to the image.

        Args:
            origin, u, v: [3] metres; (a, b) in the plane is the point origin + a u + b v.

        Returns:
            [3, 3], from (a, b, 1) to homogeneous pixels.
        """
        columns = np.stack([u, v, origin - self.position], axis=1)
        return self.intrinsics @ self.rotation @ columns


def clip_near(points: np.ndarray) -> np.ndarray:
    """Cuts a polygon in camera coordinates [N, 3] at the near plane; [0, 3] if nothing is left."""
    kept: list[np.ndarray] = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        if a[2] >= NEAR:
            kept.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            kept.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
    return np.array(kept).reshape(-1, 3)
