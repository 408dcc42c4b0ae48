"""Road, pavements and kerbs, and what is painted on the road."""

from __future__ import annotations

import math

import numpy as np

from camss_ros.street.chunk import CHUNK, Chunk, to_color
from camss_ros.street.classes import PAVEMENT, ROAD, TREE, UNLABELLED
from camss_ros.street.mesh import Point
from camss_ros.street.road import KERB, LEFT, RIGHT, SIDES

_STEP = 6.0  # metres of ground in one piece, which is flat and straight
_YELLOW = (196, 170, 60)


def lay_ground(chunk: Chunk, zones: dict[int, str], junctions: dict[int, bool]) -> None:
    """Adds the ground from far to near, since the pavement is higher than the road."""
    road = chunk.road
    for step in range(3, -1, -1):
        near, far = chunk.start + _STEP * step, chunk.start + _STEP * (step + 1)
        side_road = step in (1, 2)
        for side in SIDES:
            color, label = road.paving * 0.85, PAVEMENT
            if junctions[side] and side_road:
                color, label = road.asphalt, ROAD
            elif junctions[side]:
                color = road.paving * 0.97
            elif zones[side] in ("houses", "park"):
                color, label = road.grass, TREE
            chunk.strip(near, far, side * road.edge[side], side * 90, color, label)
        left, right = -road.kerb[LEFT], road.kerb[RIGHT]
        left -= road.pavement[LEFT] * (junctions[LEFT] and side_road)
        right += road.pavement[RIGHT] * (junctions[RIGHT] and side_road)
        chunk.strip(near, far, left, right, road.asphalt, ROAD)
        for side in SIDES:
            if not (junctions[side] and side_road):
                _lay_pavement(chunk, side, near, far, ends=junctions[side] and step == 3)


def _lay_pavement(chunk: Chunk, side: int, near: float, far: float, ends: bool) -> None:
    """Adds pavement, kerb stones and lines at the kerb; `ends`: at the far corner of a junction."""
    road = chunk.road
    kerb, edge = side * road.kerb[side], side * road.edge[side]
    chunk.strip(near, far, kerb, edge, road.paving, PAVEMENT, KERB)
    chunk.strip(near, far, kerb, kerb + side * 0.16, road.paving * 1.12, PAVEMENT, KERB)
    faces: list[list[Point]] = [
        [(kerb, 0, near), (kerb, KERB, near), (kerb, KERB, far), (kerb, 0, far)]
    ]
    if ends:
        faces.append([(kerb, 0, near), (edge, 0, near), (edge, KERB, near), (kerb, KERB, near)])
    for face in faces:
        chunk.lay(face, road.paving * 0.68, PAVEMENT)
    if road.double_yellow and not road.parking[side]:
        for gap in (0.2, 0.42):
            line = kerb - side * gap
            chunk.strip(near, far, line - 0.05, line + 0.05, _YELLOW)


def mark_road(chunk: Chunk, rng: np.random.Generator, junction: bool) -> None:
    """Adds mended places, manhole covers and the white markings."""
    road, start = chunk.road, chunk.start
    white = np.array((214, 214, 208)) * rng.uniform(0.75, 1.0)
    for _ in range(int(rng.integers(0, 3))):  # mended places
        near = start + rng.uniform(0, CHUNK - 6)
        left = rng.uniform(-road.lane, road.lane - 1)
        tone = road.asphalt * rng.uniform(0.72, 1.2)
        far = near + rng.uniform(1, 6)
        chunk.strip(near, far, left, left + rng.uniform(0.6, 2), tone)
    for _ in range(int(rng.integers(0, 3))):  # manhole covers
        z, offset = start + rng.uniform(0, CHUNK), rng.uniform(-road.lane, road.lane)
        x = road.centre(z) + offset
        angles = np.arange(10) * 0.628
        ring = [(x + 0.32 * math.cos(a), 0.0, z + 0.32 * math.sin(a)) for a in angles]
        chunk.surface.polygon(ring, to_color(road.asphalt * 0.55), UNLABELLED, culled=False)
    for dash in range(4):
        near = start + 6 * dash + 1
        chunk.strip(near, near + 3.6, -0.06, 0.06, white)
    for side in SIDES:
        if road.parking[side]:
            for bay in range(4):
                near = start + 6 * bay
                chunk.strip(near, near + 0.1, side * road.lane, side * road.kerb[side], white)
    if junction and rng.random() < 0.6:  # a zebra crossing
        bars = np.arange(-road.kerb[LEFT] + 0.4, road.kerb[RIGHT] - 0.5, 1.1)
        for offset in bars.tolist():
            chunk.strip(start + 1.5, start + 4.0, offset, offset + 0.55, white)
        chunk.strip(start + 0.3, start + 0.6, -road.lane, 0, white)
    elif rng.random() < 0.2:  # an arrow
        middle, z = -road.lane / 2, start + 12
        chunk.strip(z - 2.5, z, middle - 0.1, middle + 0.1, white)
        chunk.lay(
            [(middle - 0.4, 0, z), (middle + 0.4, 0, z), (middle, 0, z + 1.8)], white, UNLABELLED
        )
