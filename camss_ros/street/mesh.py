"""Meshes of flat polygons and round limbs, drawn in the order in which they were added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from camss_ros.street.classes import UNLABELLED

Color = tuple[int, int, int]
Point = tuple[float, float, float]
Vector = Point | np.ndarray


@dataclass(frozen=True)
class Mesh:
    """Faces over runs of vertices. A face of two vertices is a limb: a cone with round ends."""

    vertices: np.ndarray  # float [N, 3], metres
    radii: np.ndarray  # float [N], metres; 0 at polygon vertices
    counts: np.ndarray  # int [F], vertices of each face, in order
    colors: np.ndarray  # float [F, 3], 0-255
    labels: np.ndarray  # int [F], class id or UNLABELLED
    normals: np.ndarray  # float [F, 3], pointing outwards; 0 for limbs
    culled: np.ndarray  # bool [F], not drawn when seen from behind
    glowing: np.ndarray  # bool [F], shines by itself

    def placed(self, x: float, y: float, z: float, heading: float = 0.0) -> Mesh:
        """The mesh turned by `heading` (radians, to the right) and moved to (x, y, z)."""
        sin, cos = math.sin(heading), math.cos(heading)
        turn = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
        return replace(self, vertices=self.vertices @ turn + (x, y, z), normals=self.normals @ turn)

    @staticmethod
    def joined(meshes: Sequence[Mesh]) -> Mesh:
        """All faces of several meshes in one."""
        fields = Mesh.__dataclass_fields__
        return Mesh(**{name: np.concatenate([getattr(m, name) for m in meshes]) for name in fields})


class MeshBuilder:
    """Collects faces; one without a label is a detail of the face under it.

    `inside` is a point within the body, by which the outside of a face is found.
    """

    def __init__(self, inside: Vector = (0.0, 0.0, 0.0)) -> None:
        self.inside = np.array(inside, dtype=float)
        self._vertices: list[np.ndarray] = []
        self._radii: list[np.ndarray] = []
        self._faces: list[tuple[int, Color, int, np.ndarray, bool, bool]] = []

    def polygon(
        self,
        points: Sequence[Vector] | np.ndarray,
        color: Color,
        label: int = UNLABELLED,
        *,
        culled: bool = True,
        glowing: bool = False,
    ) -> None:
        """Adds a flat convex polygon."""
        corners = np.asarray(points, dtype=float)
        normal = _normal(corners)
        if normal @ (corners.mean(axis=0) - self.inside) < 0:
            normal = -normal
        self._vertices.append(corners)
        self._radii.append(np.zeros(len(corners)))
        self._faces.append((len(corners), color, label, normal, culled, glowing))

    def rectangle(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: float,
        color: Color,
        label: int = UNLABELLED,
        *,
        glowing: bool = False,
    ) -> None:
        """Adds an upright rectangle across the z axis."""
        (left, right), (low, high) = x, y
        corners = [(left, low, z), (right, low, z), (right, high, z), (left, high, z)]
        self.polygon(corners, color, label, glowing=glowing)

    def limb(
        self,
        start: Vector,
        end: Vector,
        radius: float,
        color: Color,
        label: int = UNLABELLED,
        *,
        end_radius: float | None = None,
        glowing: bool = False,
    ) -> None:
        """Adds a round limb from start to end, tapering to `end_radius`."""
        self._vertices.append(np.array([start, end], dtype=float))
        self._radii.append(np.array([radius, radius if end_radius is None else end_radius]))
        self._faces.append((2, color, label, np.zeros(3), False, glowing))

    def box(self, low: Point, high: Point, color: Color, label: int) -> None:
        """Adds a box without its bottom."""
        kept, self.inside = self.inside, (np.array(low) + np.array(high)) / 2
        (x0, y0, z0), (x1, y1, z1) = low, high
        for points in (
            [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
            [(x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)],
            [(x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)],
            [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)],
            [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)],
        ):
            self.polygon(points, color, label)
        self.inside = kept

    def disc(
        self,
        centre: Point,
        radius: float,
        axis: str,
        color: Color,
        label: int = UNLABELLED,
        *,
        corners: int = 12,
        glowing: bool = False,
    ) -> None:
        """Adds a disc whose normal is the world axis "x" or "z"."""
        angles = np.arange(corners) * (2 * math.pi / corners)
        ring = np.zeros((corners, 3))
        ring[:, 2 if axis == "x" else 0] = np.cos(angles) * radius
        ring[:, 1] = np.sin(angles) * radius
        self.polygon(ring + centre, color, label, glowing=glowing)

    def build(self) -> Mesh:
        """The mesh of all faces added so far."""
        counts, colors, labels, normals, culled, glowing = zip(*self._faces, strict=True)
        return Mesh(
            vertices=np.concatenate(self._vertices),
            radii=np.concatenate(self._radii),
            counts=np.array(counts),
            colors=np.array(colors, dtype=float),
            labels=np.array(labels),
            normals=np.array(normals),
            culled=np.array(culled),
            glowing=np.array(glowing),
        )


def _normal(corners: np.ndarray) -> np.ndarray:
    """Unit normal [3] of a flat polygon [N, 3] by Newell's sums (np.cross is slow on few rows)."""
    x, y, z = 0.0, 0.0, 0.0
    points = corners.tolist()
    for (ax, ay, az), (bx, by, bz) in zip(points, points[1:] + points[:1], strict=True):
        x += (ay - by) * (az + bz)
        y += (az - bz) * (ax + bx)
        z += (ax - bx) * (ay + by)
    length = max(math.sqrt(x * x + y * y + z * z), 1e-9)
    return np.array([x / length, y / length, z / length])
