"""Street furniture, vehicles and people as meshes, each from a small design number.

Meshes stand on the ground at the origin; vehicles and people look along +z.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.street.classes import (
    BICYCLIST,
    BUILDING,
    CAR,
    PEDESTRIAN,
    POLE,
    SIGN,
    TREE,
)
from camss_ros.street.classes import UNLABELLED as DETAIL
from camss_ros.street.mesh import Color, Mesh, MeshBuilder

CAR_DESIGNS = 48
PERSON_DESIGNS = 32
STRIDE_PHASES = 8

_PAINTS = (
    (186, 190, 194), (206, 208, 210), (30, 32, 36), (52, 54, 60), (32, 50, 100), (140, 22, 28),
    (232, 232, 230), (110, 114, 120), (24, 72, 54), (60, 90, 140), (170, 30, 36), (196, 180, 140),
    (84, 88, 96), (40, 42, 44), (222, 224, 226), (180, 150, 60),
)  # fmt: skip
_CLOTHES = (
    (30, 32, 40), (54, 56, 64), (38, 48, 84), (120, 30, 34), (140, 136, 128), (88, 80, 66),
    (22, 24, 26), (190, 186, 178), (60, 84, 70), (150, 110, 60), (60, 40, 70), (40, 90, 130),
    (200, 60, 50), (100, 110, 120),
)  # fmt: skip
_SKINS = ((224, 178, 150), (200, 150, 120), (150, 104, 78), (96, 66, 50), (232, 190, 166))
_HAIR = ((36, 28, 24), (70, 48, 32), (120, 90, 54), (170, 160, 150), (24, 22, 22))
_TYRE: Color = (22, 22, 24)
_GLASS: Color = (44, 52, 60)


def _tyre(
    build: MeshBuilder, side: float, z: float, radius: float, label: int, width: float = 0.2
) -> None:
    """The treads of a wheel, to be drawn before the body that covers their upper part."""
    inner = side - math.copysign(width, side)
    low, high = min(inner, side), max(inner, side)
    build.box((low, 0.0, z - radius * 0.9), (high, radius * 1.6, z + radius * 0.9), _TYRE, label)


def _wheel(build: MeshBuilder, side: float, z: float, radius: float, label: int) -> None:
    """The outer face of a wheel in its arch, to be drawn after the body."""
    outside = side + math.copysign(0.01, side)
    build.disc((outside, radius * 1.08, z), radius * 1.12, "x", (16, 16, 18), DETAIL)
    build.disc((outside, radius, z), radius, "x", _TYRE, label)
    build.disc((outside, radius, z), radius * 0.62, "x", (142, 144, 148), DETAIL, corners=10)
    build.disc((outside, radius, z), radius * 0.22, "x", (60, 62, 66), DETAIL, corners=8)


def _inset(quad: np.ndarray, share: float) -> np.ndarray:
    """A quad shrunk towards its middle."""
    return quad + (quad.mean(axis=0) - quad) * share


@lru_cache(maxsize=CAR_DESIGNS)
def car(design: int) -> Mesh:
    """Hatchback, saloon, estate or van; about 4.2 m x 1.75 m."""
    rng = np.random.default_rng((21, design))
    kind = ("hatch", "saloon", "estate", "hatch", "van", "saloon")[design % 6]
    paint: Color = _PAINTS[rng.integers(len(_PAINTS))]
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
        _tyre(build, side, z, 0.31, CAR)
    bonnet = half - (1.05 if kind != "van" else 0.7)
    boot = -half + {"hatch": 0.12, "saloon": 0.75, "estate": 0.1, "van": 0.05}[kind]
    profile = [
        (-half, 0.3), (-half - 0.03, 0.6), (-half + 0.05, waist - 0.06), (boot, waist),
        (bonnet, waist), (half - 0.12, nose + 0.04), (half, nose - 0.12), (half + 0.02, 0.3),
    ]  # fmt: skip
    for side in (-width, width):
        build.polygon([(side, y, z) for z, y in profile], paint, CAR)
        build.polygon(
            [(side, y, z) for z, y in ((-half, 0.28), (half, 0.28), (half, 0.38), (-half, 0.38))],
            trim, DETAIL,
        )  # fmt: skip
    for (z0, y0), (z1, y1) in pairwise(profile):
        strip = [(-width, y0, z0), (width, y0, z0), (width, y1, z1), (-width, y1, z1)]
        build.polygon(strip, paint, CAR)

    # Bumpers, lamps, plates and grille sit on the front and rear strips.
    front, rear = half + 0.025, -half - 0.035
    for z, plate in ((front, (236, 236, 230)), (rear, (226, 196, 60))):
        build.polygon(_rectangle(-width, width, 0.3, 0.46, z), trim, DETAIL)
        build.polygon(_rectangle(-0.27, 0.27, 0.44, 0.56, z), plate, DETAIL)
    build.polygon(_rectangle(-0.5, 0.5, nose - 0.24, nose - 0.12, front), (26, 28, 30), DETAIL)
    for side in (-1, 1):
        outer, inner = side * (width - 0.06), side * (width - 0.44)
        low, high = min(inner, outer), max(inner, outer)
        lamp = _rectangle(low, high, nose - 0.22, nose - 0.04, front)
        build.polygon(lamp, (238, 240, 236), DETAIL, glowing=True)
        low, high = sorted((side * (width - 0.03), side * (width - 0.28)))
        tail = _rectangle(low, high, waist - 0.3, waist - 0.06, rear)
        build.polygon(tail, (186, 26, 24), DETAIL, glowing=True)

    for side, z in wheels:
        _wheel(build, side, z, 0.31, CAR)

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
        build.polygon(pane, _GLASS, DETAIL)
        build.polygon(_upper(pane, 0.5), (74, 84, 92), DETAIL)
        if place in ("left", "right") and kind != "van":
            build.polygon(_between(pane, 0.46, 0.52), paint, DETAIL)
    return build.build()


def _rectangle(left: float, right: float, low: float, high: float, z: float) -> list:
    return [(left, low, z), (right, low, z), (right, high, z), (left, high, z)]


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
        _tyre(build, side, z, 0.48, CAR, 0.3)
    rear_end = half - 2.0 if lorry else half
    build.box((-width, 0.45, -half), (width, height, rear_end), paint, CAR)
    if lorry:
        cab: Color = _PAINTS[rng.integers(len(_PAINTS))]
        build.box((-width + 0.05, 0.45, half - 1.9), (width - 0.05, 2.5, half), cab, CAR)
    decks = [1.1] if height < 4 else [1.1, 2.8]
    for low in decks:
        for z, out in ((half + 0.01, 1), (-half - 0.01, -1)):
            if lorry and out < 0:
                continue
            top = low + (1.5 if low == 1.1 else 0.9)
            build.polygon(
                _rectangle(-width + 0.12, width - 0.12, low, min(top, 2.4 if lorry else top), z),
                _GLASS,
                DETAIL,
            )
        if not lorry:
            for side in (-width - 0.01, width + 0.01):
                for start in np.arange(-half + 0.4, half - 1.2, 1.6).tolist():
                    pane = [(side, low + 0.2, start), (side, low + 0.2, start + 1.4),
                            (side, low + 1.1, start + 1.4), (side, low + 1.1, start)]  # fmt: skip
                    build.polygon(pane, _GLASS, DETAIL)
    for x in (-0.85, 0.85):
        build.polygon(
            _rectangle(x - 0.2, x + 0.2, 0.6, 0.8, half + 0.02),
            (238, 238, 230),
            DETAIL,
            glowing=True,
        )
        build.polygon(
            _rectangle(x - 0.12, x + 0.12, 0.6, 0.95, -half - 0.02),
            (186, 26, 24),
            DETAIL,
            glowing=True,
        )
    build.polygon(_rectangle(-0.3, 0.3, 0.5, 0.62, -half - 0.02), (226, 196, 60), DETAIL)
    for side, z in wheels:
        _wheel(build, side, z, 0.48, CAR)
    return build.build()


def _person(
    build: MeshBuilder,
    rng: np.random.Generator,
    label: int,
    hips: np.ndarray,
    lean: float,
    feet: tuple[np.ndarray, np.ndarray],
    hands: tuple[np.ndarray, np.ndarray],
    scale: float,
) -> None:
    """Adds a body whose limbs reach from the hips to the feet and from the shoulders to the
    hands."""
    coat: Color = _CLOTHES[rng.integers(len(_CLOTHES))]
    trousers: Color = _CLOTHES[rng.integers(8)]
    skin: Color = _SKINS[rng.integers(len(_SKINS))]
    hair: Color = _HAIR[rng.integers(len(_HAIR))]
    darker: Color = (int(coat[0] * 0.75), int(coat[1] * 0.75), int(coat[2] * 0.75))
    shoulders = hips + np.array([0.0, 0.5, lean]) * scale
    for side, foot in zip((-1, 1), feet, strict=True):
        hip = hips + np.array([side * 0.09, -0.02, 0.0]) * scale
        knee = (hip + foot) / 2 + np.array([0.0, 0.02, 0.09]) * scale
        ankle = foot + np.array([0.0, 0.09, -0.02])
        build.limb(tuple(hip), tuple(knee), 0.09 * scale, trousers, label, end_radius=0.068 * scale)
        build.limb(
            tuple(knee), tuple(ankle), 0.066 * scale, trousers, label, end_radius=0.05 * scale
        )
        toe = foot + np.array([0.0, 0.05, 0.14])
        build.limb(tuple(ankle - np.array([0, 0.03, 0])), tuple(toe), 0.045, (24, 22, 22), label)
    low, high = hips + np.array([0, 0.02, 0]), shoulders - np.array([0, 0.1 * scale, 0])
    for side in (-1, 1):
        off = np.array([side * 0.085 * scale, 0.0, 0.0])
        tone = coat if side > 0 else darker
        build.limb(tuple(low + off * 0.8), tuple(high + off), 0.12 * scale, tone, label)
    for side, hand in zip((-1, 1), hands, strict=True):
        shoulder = shoulders + np.array([side * 0.2, -0.06, 0.0]) * scale
        elbow = (shoulder + hand) / 2 + np.array([side * 0.04, -0.03, -0.07]) * scale
        build.limb(tuple(shoulder), tuple(elbow), 0.062 * scale, darker, label)
        build.limb(tuple(elbow), tuple(hand), 0.05 * scale, darker, label, end_radius=0.04 * scale)
        build.limb(
            tuple(hand), tuple(hand + np.array([0, -0.05, 0.01])), 0.042 * scale, skin, label
        )
    neck = shoulders + np.array([0.0, 0.02, 0.02]) * scale
    head = shoulders + np.array([0.0, 0.2, 0.03 + 0.2 * lean]) * scale
    build.limb(tuple(neck), tuple(head), 0.055 * scale, skin, label)
    build.limb(tuple(head), tuple(head + np.array([0, 0.05, 0.01])), 0.095 * scale, skin, label)
    back = head + np.array([0.0, 0.05, -0.05]) * scale
    build.limb(tuple(back), tuple(back + np.array([0, 0.03, 0.0])), 0.098 * scale, hair, label)


@lru_cache(maxsize=PERSON_DESIGNS * (STRIDE_PHASES + 1))
def pedestrian(design: int, phase: int | None) -> Mesh:
    """A person in one of STRIDE_PHASES moments of a stride, or standing (phase None)."""
    rng = np.random.default_rng((23, design))
    scale = float(rng.choice([1.0, 1.04, 0.95, 0.75], p=[0.4, 0.25, 0.25, 0.1]))
    build = MeshBuilder()
    swing = 0.0 if phase is None else math.sin(2 * math.pi * phase / STRIDE_PHASES)
    raised = 0.0 if phase is None else abs(math.cos(2 * math.pi * phase / STRIDE_PHASES))
    hips = np.array([0.0, 0.9 * scale, 0.0])
    feet = tuple(
        np.array(
            [side * 0.1 * scale, 0.06 * raised * (side * swing < 0), side * 0.34 * swing * scale]
        )
        for side in (-1, 1)
    )
    hands = tuple(
        hips + np.array([side * 0.27, -0.05, -side * 0.28 * swing + 0.05]) * scale
        for side in (-1, 1)
    )
    _person(build, rng, PEDESTRIAN, hips, 0.03, (feet[0], feet[1]), (hands[0], hands[1]), scale)
    if rng.random() < 0.4:  # a bag in the right hand or on the back
        bag: Color = _CLOTHES[rng.integers(len(_CLOTHES))]
        if rng.random() < 0.5:
            x, y, z = hands[1]
            build.box(
                (x - 0.06, y - 0.42, z - 0.16), (x + 0.06, y - 0.08, z + 0.16), bag, PEDESTRIAN
            )
        else:
            low = (-0.15 * scale, 0.98 * scale, -0.28 * scale)
            build.box(low, (0.15 * scale, 1.38 * scale, -0.1 * scale), bag, PEDESTRIAN)
    return build.build()


@lru_cache(maxsize=16 * STRIDE_PHASES)
def cyclist(design: int, phase: int) -> Mesh:
    """A person riding a bicycle, at one of STRIDE_PHASES positions of the pedals."""
    rng = np.random.default_rng((24, design))
    paint: Color = _PAINTS[rng.integers(len(_PAINTS))]
    build = MeshBuilder((0.0, 0.6, 0.0))
    for z in (-0.52, 0.52):
        angles = np.linspace(0, 2 * math.pi, 15)
        rim = [(0.0, 0.34 + 0.33 * math.sin(a), z + 0.33 * math.cos(a)) for a in angles]
        for a, b in pairwise(rim):
            build.limb(a, b, 0.024, _TYRE, BICYCLIST)
        for a, b in zip(rim[:7:2], rim[7::2], strict=False):
            build.limb(a, b, 0.006, (150, 150, 152), BICYCLIST)
    crank, seat, head = (0.0, 0.3, -0.05), (0.0, 0.88, -0.22), (0.0, 0.86, 0.36)
    rear, front = (0.0, 0.34, -0.52), (0.0, 0.34, 0.52)
    for a, b in (
        (crank, seat),
        (crank, head),
        (seat, head),
        (crank, rear),
        (rear, seat),
        (head, front),
    ):
        build.limb(a, b, 0.022, paint, BICYCLIST)
    build.limb((0, 0.94, -0.3), (0, 0.94, -0.12), 0.05, (24, 24, 26), BICYCLIST)
    build.limb((0, 0.86, 0.36), (0, 1.02, 0.34), 0.02, (40, 40, 42), BICYCLIST)
    build.limb((-0.26, 1.02, 0.34), (0.26, 1.02, 0.34), 0.02, (40, 40, 42), BICYCLIST)
    angle = 2 * math.pi * phase / STRIDE_PHASES
    feet = tuple(
        np.array([
            side * 0.1,
            0.27 + 0.17 * side * math.sin(angle),
            -0.05 + 0.17 * side * math.cos(angle),
        ])
        for side in (-1, 1)
    )  # fmt: skip
    hands = (np.array([-0.25, 1.06, 0.34]), np.array([0.25, 1.06, 0.34]))
    hips = np.array([0.0, 0.98, -0.2])
    _person(build, rng, BICYCLIST, hips, 0.28, (feet[0], feet[1]), hands, 1.0)
    if rng.random() < 0.5:
        helmet: Color = ((230, 230, 226), (190, 40, 40), (30, 32, 36), (60, 110, 180))[
            rng.integers(4)
        ]
        build.limb((0, 1.79, 0.1), (0, 1.8, 0.14), 0.11, helmet, BICYCLIST)
    build.polygon(_rectangle(-0.03, 0.03, 0.74, 0.8, -0.33), (200, 30, 26), DETAIL, glowing=True)
    return build.build()


def _post(
    build: MeshBuilder, height: float, radius: float, color: Color, top: float | None = None
) -> None:
    """A round post with a bright flank."""
    top = radius if top is None else top
    build.limb((0, 0, 0), (0, height, 0), radius, color, POLE, end_radius=top)
    light: Color = (min(255, color[0] + 34), min(255, color[1] + 34), min(255, color[2] + 34))
    x = radius * 0.35
    build.limb(
        (-x, 0, -0.01),
        (-x * top / radius, height, -0.01),
        radius * 0.4,
        light,
        DETAIL,
        end_radius=top * 0.4,
    )


@lru_cache(maxsize=16)
def lamp_post(design: int) -> Mesh:
    """A street lamp of 5 to 9 m, its arm towards +x."""
    rng = np.random.default_rng((25, design))
    height, reach = rng.uniform(5, 9), rng.choice([0.0, 1.0, 1.6])
    color: Color = ((120, 124, 124), (60, 64, 62), (150, 152, 150), (44, 66, 56))[rng.integers(4)]
    build = MeshBuilder((0.0, height - 1, 0.0))
    _post(build, height, 0.085, color, 0.05)
    build.limb((0, 0, 0), (0, 1.1, 0), 0.12, color, POLE)
    build.limb((0, height, 0), (reach, height + 0.25, 0), 0.045, color, POLE)
    build.limb(
        (reach, height + 0.25, 0), (reach + 0.55, height + 0.25, 0), 0.09, (96, 98, 98), POLE
    )
    build.limb(
        (reach + 0.1, height + 0.19, 0),
        (reach + 0.5, height + 0.19, 0),
        0.06,
        (250, 214, 150),
        DETAIL,
        glowing=True,
    )
    return build.build()


@lru_cache(maxsize=8)
def bollard(design: int) -> Mesh:
    """A bollard of about a metre."""
    build = MeshBuilder((0.0, 0.5, 0.0))
    color: Color = ((40, 42, 44), (150, 120, 84), (210, 210, 204), (60, 62, 60))[design % 4]
    height = 0.85 + 0.1 * (design % 3)
    build.limb((0, 0, 0), (0, height, 0), 0.085, color, POLE)
    if design % 2:
        build.limb(
            (0, height - 0.25, -0.01), (0, height - 0.16, -0.01), 0.087, (225, 225, 220), DETAIL
        )
    return build.build()


@lru_cache(maxsize=4)
def telegraph_pole(design: int) -> Mesh:
    """A wooden pole of 8 m with a cross arm."""
    build = MeshBuilder((0.0, 4.0, 0.0))
    color: Color = ((92, 74, 58), (110, 96, 80), (80, 70, 62), (120, 104, 84))[design % 4]
    _post(build, 8.0, 0.13, color, 0.1)
    build.box((-0.7, 7.2, -0.06), (0.7, 7.34, 0.06), color, POLE)
    return build.build()


@lru_cache(maxsize=24)
def sign_post(design: int) -> Mesh:
    """A traffic sign or a direction board on a post; the face looks along -z."""
    rng = np.random.default_rng((26, design))
    build = MeshBuilder((0.0, 1.0, 1.0))
    kind = design % 6
    height = float(rng.uniform(1.9, 2.7))
    build.limb((0, 0, 0), (0, height + 0.3, 0), 0.04, (124, 126, 126), POLE)
    z, dark, white = -0.06, (24, 24, 26), (240, 240, 236)
    centre = (0.0, height, z)
    size = float(rng.uniform(0.3, 0.42))
    if kind in (0, 1):
        build.disc(centre, size, "z", (196, 30, 36) if kind == 0 else (30, 80, 170), SIGN)
        build.disc(
            (0, height, z - 0.01), size * 0.76, "z", white if kind == 0 else (30, 80, 170), DETAIL
        )
        ink = dark if kind == 0 else white
        if design % 4 < 2:
            for x in (-0.09, 0.09):
                build.polygon(
                    _rectangle(x - 0.05, x + 0.05, height - 0.14, height + 0.14, z - 0.02),
                    ink,
                    DETAIL,
                )
        else:
            build.limb(
                (-0.12, height - 0.12, z - 0.02),
                (0.12, height + 0.12, z - 0.02),
                0.035,
                ink,
                DETAIL,
            )
    elif kind == 2:
        for scale, color, mark in ((1.0, (196, 30, 36), SIGN), (0.66, white, DETAIL)):
            s = size * 1.25 * scale
            low = height - 0.5 * s
            build.polygon([(-s, low, z), (s, low, z), (0, low + 1.6 * s, z)], color, mark)
            z -= 0.01
        build.limb((0, height - 0.05, z), (0, height + 0.16, z), 0.04, dark, DETAIL)
    else:
        wide, tall = ((0.35, 0.45), (0.8, 0.45), (0.5, 0.75))[kind - 3]
        color, ink = (
            ((30, 80, 170), white), ((20, 96, 66), white), (white, dark), ((236, 200, 50), dark)
        )[rng.integers(4)]  # fmt: skip
        build.polygon(_rectangle(-wide, wide, height - tall, height + tall, z), color, SIGN)
        z -= 0.01
        for y in np.arange(height - tall + 0.12, height + tall - 0.1, 0.2).tolist():
            right = wide * float(rng.uniform(-0.2, 0.85))
            build.polygon(_rectangle(-wide * 0.85, right, y, y + 0.09, z), ink, DETAIL)
    if design % 5 == 0:
        build.polygon(_rectangle(-0.28, 0.28, height - 0.85, height - 0.55, -0.06), white, SIGN)
        build.polygon(_rectangle(-0.2, 0.2, height - 0.74, height - 0.66, -0.07), dark, DETAIL)
    return build.build()


@lru_cache(maxsize=6)
def shop_sign(design: int) -> Mesh:
    """A board that stands out from a facade over the pavement; its middle is the origin."""
    rng = np.random.default_rng((27, design))
    color: Color = (
        (160, 28, 32),
        (24, 70, 50),
        (230, 226, 214),
        (30, 44, 100),
        (220, 180, 50),
        (40, 38, 40),
    )[design]
    ink: Color = (240, 236, 224) if sum(color) < 420 else (40, 36, 36)
    wide, tall = float(rng.uniform(0.3, 0.45)), float(rng.uniform(0.3, 0.6))
    build = MeshBuilder()
    build.box((-wide, -tall, -0.05), (wide, tall, 0.05), color, SIGN)
    build.inside = np.array([0.0, 0.0, 1.0])
    for y in (-0.5 * tall, 0.15 * tall):
        build.polygon(
            _rectangle(-wide * 0.7, wide * rng.uniform(0.3, 0.75), y, y + 0.3 * tall, -0.06),
            ink,
            DETAIL,
        )
    return build.build()


@lru_cache(maxsize=3)
def traffic_light(state: int) -> Mesh:
    """A signal on a post that looks along -z; state 0 red, 1 amber, 2 green."""
    build = MeshBuilder((0.0, 2.8, 0.5))
    build.limb((0, 0, 0), (0, 3.2, 0), 0.065, (46, 48, 50), POLE)
    build.polygon(_rectangle(-0.26, 0.26, 2.15, 3.45, -0.1), (222, 222, 216), SIGN)
    build.polygon(_rectangle(-0.22, 0.22, 2.2, 3.4, -0.12), (18, 18, 20), SIGN)
    lamps = ((230, 40, 34), (250, 176, 40), (60, 240, 150))
    for i, y in enumerate((3.18, 2.8, 2.42)):
        color: Color = lamps[i] if i == state else (42, 36, 36)
        build.disc((0, y, -0.14), 0.13, "z", color, DETAIL, glowing=i == state)
    return build.build()


@lru_cache(maxsize=12)
def trunk(design: int) -> Mesh:
    """The stem of a tree, 3 m."""
    rng = np.random.default_rng((28, design))
    color = tuple(int(c) for c in np.array((78, 69, 57)) * rng.uniform(0.75, 1.2))
    build = MeshBuilder()
    radius = float(rng.uniform(0.1, 0.2))
    build.limb(
        (0, 0, 0),
        (0, 3.0, 0),
        radius,
        (color[0], color[1], color[2]),
        TREE,
        end_radius=radius * 0.7,
    )
    lit = (color[0] + 26, color[1] + 24, color[2] + 20)
    build.limb((-radius * 0.4, 0, -0.02), (-radius * 0.3, 3.0, -0.02), radius * 0.35, lit, DETAIL)
    return build.build()


@lru_cache(maxsize=4)
def clutter(design: int) -> Mesh:
    """Things without a class: a litter bin, a letter box, a cabinet, sacks."""
    build = MeshBuilder((0.0, 0.5, 0.0))
    if design == 0:
        build.limb((0, 0.2, 0), (0, 0.85, 0), 0.27, (28, 40, 34), VOID)
        build.limb((0, 0.9, -0.01), (0, 0.92, -0.01), 0.26, (60, 66, 60), DETAIL)
    elif design == 1:
        build.limb((0, 0.2, 0), (0, 1.35, 0), 0.24, (180, 28, 34), VOID)
        build.polygon(_rectangle(-0.13, 0.13, 1.15, 1.22, -0.25), (20, 18, 18), DETAIL)
    elif design == 2:
        build.box((-0.5, 0, -0.2), (0.5, 1.2, 0.2), (74, 88, 74), VOID)
    else:
        for x in (-0.3, 0.05, 0.3):
            build.limb((x, 0.15, 0), (x, 0.35, 0.03), 0.22, (26, 26, 28), VOID)
    return build.build()


@lru_cache(maxsize=4)
def chimney(design: int) -> Mesh:
    """A chimney stack with pots; the origin is where it meets the roof."""
    build = MeshBuilder()
    color: Color = ((128, 74, 58), (150, 130, 100), (110, 96, 88), (176, 170, 160))[design]
    build.box((-0.35, -0.8, -0.6), (0.35, 1.1, 0.6), color, BUILDING)
    for z in (-0.35, 0.0, 0.35):
        build.limb((0, 1.1, z), (0, 1.5, z), 0.13, (160, 96, 70), BUILDING)
    return build.build()
