"""Rigid transforms as 4 x 4 matrices, and the place of a camera above the ground (REP 103)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def rotation(quaternion: Sequence[float]) -> np.ndarray:
    """The rotation of a quaternion, float64 [3, 3].

    Args:
        quaternion: (x, y, z, w), of any length but zero.

    Raises:
        ValueError: it is zero, or a number is not finite.
    """
    x, y, z, w = (float(value) for value in quaternion)
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not (math.isfinite(norm) and norm > 1e-9):
        raise ValueError(f"{[x, y, z, w]} is no rotation: a quaternion has the length 1")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def transform(translation: Sequence[float], quaternion: Sequence[float]) -> np.ndarray:
    """A transform as geometry_msgs/Transform has it, float64 [4, 4].

    Args:
        translation: (x, y, z), m.
        quaternion: (x, y, z, w), of any length but zero.

    Raises:
        ValueError: it is no rotation, or a number is not finite.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(quaternion)
    matrix[:3, 3] = translation
    if not np.isfinite(matrix).all():
        raise ValueError(f"{list(translation)} is no translation: a number is not finite")
    return matrix


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [3, N] moved by a transform [4, 4]; of the points' dtype."""
    with np.errstate(invalid="ignore"):  # points that are not finite
        turned: np.ndarray = matrix[:3, :3].astype(points.dtype) @ points
        turned += matrix[:3, 3:].astype(points.dtype)
    return turned


@dataclass(frozen=True)
class Mount:
    """How a camera is mounted above level ground.

    Attributes:
        height: of the camera above the ground, m.
        pitch: of the optical axis below the horizon, rad.
        roll: of the camera to its right (clockwise), rad.
    """

    height: float
    pitch: float = 0.0
    roll: float = 0.0

    def vehicle_to_camera(self) -> np.ndarray:
        """float64 [4, 4]: from the ground point below the camera (x forward, y left, z up) to its
        optical frame (x right, y down, z forward)."""
        sin, cos = math.sin(self.pitch), math.cos(self.pitch)
        right, down = np.array([0.0, -1.0, 0.0]), np.array([-sin, 0.0, -cos])
        forward = np.array([cos, 0.0, -sin])
        sin, cos = math.sin(self.roll), math.cos(self.roll)
        matrix = np.eye(4)
        matrix[:3, :3] = right * cos + down * sin, down * cos - right * sin, forward
        matrix[:3, 3] = matrix[:3, :3] @ (0.0, 0.0, -self.height)
        return matrix
