"""A piece of the street: the ground, what stands on it, and its shadows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from camss_ros.street.classes import UNLABELLED
from camss_ros.street.mesh import Color, Mesh, MeshBuilder, Point
from camss_ros.street.road import LEFT, Road
from camss_ros.street.textures import Texture

CHUNK = 24.0
"""Length in metres of the pieces in which the street is made."""

# What is drawn first within one chunk: guard rails stand between the pavement and the road.
BUILDINGS, GARDENS, FENCES, PAVEMENTS, RAILS, STREET = range(6)

Tint = tuple[float, float, float]
Size = tuple[float, float, float]
"""Half width, half length and height in metres of what casts a shadow."""

_UNTINTED = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Solid:
    """A mesh in world coordinates; `z` is where it stands along the street."""

    mesh: Mesh
    z: float
    layer: int = STREET


@dataclass(frozen=True)
class Panel:
    """A textured parallelogram: texture row 0 lies along u from the origin, columns along v.

    A panel without a normal is a billboard, turned to the camera about the middle of u.
    """

    origin: np.ndarray
    u: np.ndarray
    v: np.ndarray
    texture: Texture
    label: int
    normal: np.ndarray | None
    z: float
    layer: int
    tint: Tint = _UNTINTED


class Chunk:
    """One piece of street, which starts empty.

    Args:
        road: along which it lies.
        start: z in metres at which it begins.
    """

    def __init__(self, road: Road, start: float = 0.0) -> None:
        self.road = road
        self.start = start
        self.surface = MeshBuilder((0.0, -50.0, start))
        self.items: list[Solid | Panel] = []
        self.shadows: list[np.ndarray] = []  # ground polygons [N, 3]

    @cached_property
    def ground(self) -> Mesh:
        """The whole ground, once all of it is laid."""
        return self.surface.build()

    def lay(self, points: Sequence[Point], color: np.ndarray | Color, label: int) -> None:
        """Adds a polygon of the ground; points are (offset from the middle of the road, y, z)."""
        corners = [self.road.point(*point) for point in points]
        self.surface.polygon(corners, to_color(color), label, culled=False)

    def strip(
        self,
        near: float,
        far: float,
        one: float,
        other: float,
        color: np.ndarray | Color,
        label: int = UNLABELLED,
        y: float = 0.0,
    ) -> None:
        """Adds the ground from z = near to far between two offsets."""
        left, right = sorted((one, other))
        self.lay([(left, y, near), (right, y, near), (right, y, far), (left, y, far)], color, label)

    def stand(
        self,
        mesh: Mesh,
        offset: float,
        z: float,
        heading: float,
        y: float,
        size: Size,
        layer: int = STREET,
    ) -> None:
        """Puts a mesh and its shadow on the street.

        Args:
            mesh: on the ground at the origin, looking along +z.
            offset: to the right of the middle of the road, metres.
            z: along the street, metres.
            heading: radians to the right of the street's direction.
            y: height of the ground, metres.
            size: of what casts the shadow.
            layer: in which it is drawn.
        """
        x = self.road.centre(z) + offset
        turn = heading + self.road.heading(z)
        self.items.append(Solid(mesh.placed(x, y, z, turn), z, layer))
        half_width, half_length, height = size
        along = np.array([math.sin(turn), math.cos(turn)])
        across = np.array([along[1], -along[0]])
        corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        base = np.array([x, z]) + np.array(
            [i * half_width * across + j * half_length * along for i, j in corners]
        )
        self.shade(base, y)
        self.cast(base, height, y)

    def cast(self, base: np.ndarray, height: float, y: float = 0.0) -> None:
        """Adds the sun's shadow of an upright body over the ground polygon base [N, 2]."""
        if self.road.shadow is None:
            return
        reach = np.concatenate([base, base + np.array(self.road.shadow) * height])
        self.shade(cv2.convexHull(reach.astype(np.float32))[:, 0].astype(float), y)

    def shade(self, polygon: np.ndarray, y: float = 0.0) -> None:
        """Darkens the ground under a polygon [N, 2] of (x, z)."""
        heights = np.full(len(polygon), y + 0.01)
        self.shadows.append(np.stack([polygon[:, 0], heights, polygon[:, 1]], axis=1))


@dataclass(frozen=True)
class Roadside:
    """One side of a chunk while it is filled. Offsets are from the middle of the road outwards.

    Attributes:
        chunk: to fill.
        side: LEFT or RIGHT.
        rng: of the chunk.
    """

    chunk: Chunk
    side: int
    rng: np.random.Generator

    @property
    def kerb(self) -> float:
        """Offset at which the pavement begins."""
        return self.chunk.road.kerb[self.side]

    @property
    def edge(self) -> float:
        """Offset at which the pavement ends."""
        return self.chunk.road.edge[self.side]

    def stand(
        self,
        mesh: Mesh,
        offset: float,
        z: float,
        size: Size,
        heading: float = 0.0,
        *,
        y: float = 0.0,
        layer: int = STREET,
    ) -> None:
        """Puts a mesh on the ground; see `Chunk.stand`."""
        self.chunk.stand(mesh, self.side * offset, z, heading, y, size, layer)

    def put_along(
        self,
        near: float,
        far: float,
        offset: float,
        height: float,
        texture: Texture,
        label: int,
        layer: int,
        tint: Tint = _UNTINTED,
        *,
        low: float = 0.0,
    ) -> None:
        """Adds an upright panel that runs along the street and faces it.

        Args:
            near, far: z of its ends, metres.
            offset: from the middle of the road outwards, metres.
            height: of the panel, metres.
            texture, label, layer, tint: as of `Panel`.
            low: height of its lower edge, metres.
        """
        point = self.chunk.road.point
        a, b = (np.array(point(self.side * offset, low + height, z)) for z in (near, far))
        origin, u = (a, b - a) if self.side == LEFT else (b, a - b)
        normal = np.array([-self.side * (far - near), 0.0, self.side * (b - a)[0]])
        normal /= np.linalg.norm(normal)
        v = np.array([0.0, -height, 0.0])
        self.chunk.items.append(Panel(origin, u, v, texture, label, normal, near, layer, tint))

    def draw_tint(self, spread: float) -> Tint:
        """Random factors on the three channels of a texture."""
        level = self.rng.normal(1, spread)
        r, g, b = np.clip(level + self.rng.normal(0, spread / 4, 3), 0.6, 1.3)
        return float(r), float(g), float(b)


def to_color(rgb: np.ndarray | Color) -> Color:
    """The colour in whole numbers of 0-255."""
    r, g, b = (int(min(255, max(0, c))) for c in rgb)
    return r, g, b
