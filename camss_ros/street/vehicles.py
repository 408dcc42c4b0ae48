"""Cars, buses and lorries as meshes, each from a small design number; they look along +z."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from camss_ros.street.classes import CAR
from camss_ros.street.mesh import Color, Mesh, MeshBuilder, Point

CAR_DESIGNS = 48
CAR_SIZE = (0.85, 2.1, 1.3)
"""Half width, half length and height in metres of what casts a car's shadow."""

PAINTS = (
    (186, 190, 194), (206, 208, 210), (30, 32, 36), (52, 54, 60), (32, 50, 100), (140, 22, 28),
    (232, 232, 230), (110, 114, 120), (24, 72, 54), (60, 90, 140), (170, 30, 36), (196, 180, 140),
    (84, 88, 96), (40, 42, 44), (222, 224, 226), (180, 150, 60),
)  # fmt: skip
TYRE: Color = (22, 22, 24)
_GLASS: Color = (44, 52, 60)


def _tyre(build: MeshBuilder, side: float, z: float, radius: float, width: float = 0.2) -> None:
    """The treads of a wheel, to be drawn before the body that covers their upper part."""
    inner = side - math.copysign(width, side)
    low, high = sorted((inner, side))
    build.box((low, 0.0, z - radius * 0.9), (high, radius * 1.6, z + radius * 0.9), TYRE, CAR)


def _wheel(build: MeshBuilder, side: float, z: float, radius: float) -> None:
    """The outer face of a wheel in its arch, to be drawn after the body."""
    outside = side + math.copysign(0.01, side)
    build.disc((outside, radius * 1.08, z), radius * 1.12, "x", (16, 16, 18))
    build.disc((outside, radius, z), radius, "x", TYRE, CAR)
    build.disc((outside, radius, z), radius * 0.62, "x", (142, 144, 148), corners=10)
    build.disc((outside, radius, z), radius * 0.22, "x", (60, 62, 66), corners=8)


def _flank(x: float, z: tuple[float, float], y: tuple[float, float]) -> list[Point]:
    """An upright rectangle along the side of a vehicle."""
    (rear, front), (low, high) = z, y
    return [(x, low, rear), (x, low, front), (x, high, front), (x, high, rear)]


def _inset(quad: np.ndarray, share: float) -> np.ndarray:
    """A quad shrunk towards its middle."""
    return quad + (quad.mean(axis=0) - quad) * share


@lru_cache(maxsize=CAR_DESIGNS)
def car(design: int) -> Mesh:
    """Hatchback, saloon, estate or van; about 4.2 m x 1.75 m."""
    rng = np.random.default_rng((21, design))
    kind = ("hatch", "saloon", "estate", "hatch", "van", "saloon")[design % 6]
    paint: Color = PAINTS[rng.integers(len(PAINTS))]
    if kind == "van" and rng.random() < 0.6:
        paint = (226, 226, 224)
    length = {"hatch": 3.8, "saloon": 4.5, "estate": 4.5, "van": 5.0}[kind] + rng.normal(0, 0.1)
    half, width = length / 2, (1.72 if kind != "van" else 1.95) / 2
    height = {"hatch": 1.45, "saloon": 1.42, "estate": 1.48, "van": 2.15}[kind]
    waist, nose = (0.92, 0.72) if kind != "van" else (1.15, 0.95)
    build = MeshBuilder((0.0, 0.6, 0.0))
    trim: Color = (40, 42, 44)

    build.box(
        (-width + 0.12, 0.16, -half + 0.2), (width - 0.12, 0.4, half - 0.2), (18, 18, 20), CAR
    )
    wheels = [(side, z) for z in (-half + 0.72, half - 0.78) for side in (-width, width)]
    for side, z in wheels:
        _tyre(build, side, z, 0.31)
    bonnet = half - (1.05 if kind != "van" else 0.7)
    boot = -half + {"hatch": 0.12, "saloon": 0.75, "estate": 0.1, "van": 0.05}[kind]
    profile = [
        (-half, 0.3), (-half - 0.03, 0.6), (-half + 0.05, waist - 0.06), (boot, waist),
        (bonnet, waist), (half - 0.12, nose + 0.04), (half, nose - 0.12), (half + 0.02, 0.3),
    ]  # fmt: skip
    for side in (-width, width):
        build.polygon([(side, y, z) for z, y in profile], paint, CAR)
        build.polygon(_flank(side, (-half, half), (0.28, 0.38)), trim)
    for (z0, y0), (z1, y1) in pairwise(profile):
        strip = [(-width, y0, z0), (width, y0, z0), (width, y1, z1), (-width, y1, z1)]
        build.polygon(strip, paint, CAR)

    # Bumpers, lamps, plates and grille sit on the front and rear strips.
    front, rear = half + 0.025, -half - 0.035
    for z, plate in ((front, (236, 236, 230)), (rear, (226, 196, 60))):
        build.rectangle((-width, width), (0.3, 0.46), z, trim)
        build.rectangle((-0.27, 0.27), (0.44, 0.56), z, plate)
    build.rectangle((-0.5, 0.5), (nose - 0.24, nose - 0.12), front, (26, 28, 30))
    for side in (-1, 1):
        left, right = sorted((side * (width - 0.06), side * (width - 0.44)))
        rise = (nose - 0.22, nose - 0.04)
        build.rectangle((left, right), rise, front, (238, 240, 236), glowing=True)
        left, right = sorted((side * (width - 0.03), side * (width - 0.28)))
        rise = (waist - 0.3, waist - 0.06)
        build.rectangle((left, right), rise, rear, (186, 26, 24), glowing=True)

    for side, z in wheels:
        _wheel(build, side, z, 0.31)

    for side in (-1, 1):
        x = side * (width + 0.09)
        build.box(
            (x - 0.08, waist, bonnet - 0.35), (x + 0.08, waist + 0.14, bonnet - 0.25), trim, CAR
        )

    build.inside = np.array([0.0, waist + 0.1, 0.0])
    windscreen = 0.75 if kind != "van" else 0.45
    slope = {"hatch": 0.45, "saloon": 0.6, "estate": 0.25, "van": 0.05}[kind]
    z0, z1, z2, z3 = boot + 0.03, boot + slope, bonnet - windscreen, bonnet + 0.02
    top = width - (0.2 if kind != "van" else 0.1)
    corners = {
        "front": [(-width, waist, z3), (width, waist, z3), (top, height, z2), (-top, height, z2)],
        "rear": [(-width, waist, z0), (width, waist, z0), (top, height, z1), (-top, height, z1)],
        "left": [(-width, waist, z0), (-width, waist, z3), (-top, height, z2), (-top, height, z1)],
        "right": [(width, waist, z0), (width, waist, z3), (top, height, z2), (top, height, z1)],
        "roof": [(-top, height, z1), (top, height, z1), (top, height, z2), (-top, height, z2)],
    }
    for place, quad in corners.items():
        build.polygon(quad, paint, CAR)
        if place == "roof" or (kind == "van" and place == "rear"):
            continue
        pane = _inset(np.array(quad), 0.13 if place in ("front", "rear") else 0.1)
        if kind == "van" and place in ("left", "right"):
            pane = _between(pane, 0.68, 1.0)
        build.polygon(pane, _GLASS)
        build.polygon(_upper(pane, 0.5), (74, 84, 92))
        if place in ("left", "right") and kind != "van":
            build.polygon(_between(pane, 0.46, 0.52), paint)
    return build.build()


def _between(quad: np.ndarray, start: float, end: float) -> np.ndarray:
    """The part of a quad (rear bottom, front bottom, front top, rear top) between two shares."""
    a, b, c, d = quad
    return np.array(
        [a + (b - a) * start, a + (b - a) * end, d + (c - d) * end, d + (c - d) * start]
    )


def _upper(quad: np.ndarray, share: float) -> np.ndarray:
    """The upper part of a quad whose first two corners are the lower ones."""
    a, b, c, d = quad
    return np.array([a + (d - a) * share, b + (c - b) * share, c, d])


@lru_cache(maxsize=12)
def bus(design: int) -> Mesh:
    """A bus (even designs) or a lorry (odd ones)."""
    rng = np.random.default_rng((22, design))
    paint: Color = ((176, 32, 36), (214, 214, 210), (40, 70, 130), (220, 200, 90), (60, 110, 80))[
        rng.integers(5)
    ]
    lorry = bool(design % 2)
    length, width = (8.0, 1.22) if lorry else (10.5, 1.25)
    height = 3.2 if lorry or design % 4 else 4.2
    half = length / 2
    build = MeshBuilder((0.0, 1.4, 0.0))
    build.box((-width + 0.1, 0.2, -half + 0.1), (width - 0.1, 0.6, half - 0.1), (20, 20, 22), CAR)
    wheels = [(side, z) for z in (-half + 2.0, half - 1.5) for side in (-width, width)]
    for side, z in wheels:
        _tyre(build, side, z, 0.48, 0.3)
    rear_end = half - 2.0 if lorry else half
    build.box((-width, 0.45, -half), (width, height, rear_end), paint, CAR)
    if lorry:
        # Without a back, which the load in front of it hides from behind.
        cab: Color = PAINTS[rng.integers(len(PAINTS))]
        side, rise, back = width - 0.05, (0.45, 2.5), half - 1.9
        build.rectangle((-side, side), rise, half, cab, CAR)
        for x in (-side, side):
            build.polygon(_flank(x, (back, half), rise), cab, CAR)
        roof = [(-side, 2.5, back), (side, 2.5, back), (side, 2.5, half), (-side, 2.5, half)]
        build.polygon(roof, cab, CAR)
    decks = [1.1] if height < 4 else [1.1, 2.8]
    for low in decks:
        for z, out in ((half + 0.01, 1), (-half - 0.01, -1)):
            if lorry and out < 0:
                continue
            top = low + (1.5 if low == 1.1 else 0.9)
            build.rectangle(
                (-width + 0.12, width - 0.12), (low, min(top, 2.4 if lorry else top)), z, _GLASS
            )
        if not lorry:
            for side in (-width - 0.01, width + 0.01):
                for start in np.arange(-half + 0.4, half - 1.2, 1.6).tolist():
                    pane = _flank(side, (start, start + 1.4), (low + 0.2, low + 1.1))
                    build.polygon(pane, _GLASS)
    for x in (-0.85, 0.85):
        build.rectangle((x - 0.2, x + 0.2), (0.6, 0.8), half + 0.02, (238, 238, 230), glowing=True)
        build.rectangle(
            (x - 0.12, x + 0.12), (0.6, 0.95), -half - 0.02, (186, 26, 24), glowing=True
        )
    build.rectangle((-0.3, 0.3), (0.5, 0.62), -half - 0.02, (226, 196, 60))
    for side, z in wheels:
        _wheel(build, side, z, 0.48)
    return build.build()
