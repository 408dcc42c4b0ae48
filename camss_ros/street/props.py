"""Street furniture as meshes, each from a small design number, on the ground at the origin."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.street.classes import BUILDING, POLE, SIGN, TREE
from camss_ros.street.classes import UNLABELLED as DETAIL
from camss_ros.street.mesh import Color, Mesh, MeshBuilder


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
        build.limb((0, height - 0.25, -0.01), (0, height - 0.16, -0.01), 0.087, (225, 225, 220))
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
        build.disc((0, height, z - 0.01), size * 0.76, "z", white if kind == 0 else (30, 80, 170))
        ink = dark if kind == 0 else white
        if design % 4 < 2:
            for x in (-0.09, 0.09):
                build.rectangle((x - 0.05, x + 0.05), (height - 0.14, height + 0.14), z - 0.02, ink)
        else:
            build.limb(
                (-0.12, height - 0.12, z - 0.02), (0.12, height + 0.12, z - 0.02), 0.035, ink
            )
    elif kind == 2:
        for scale, color, mark in ((1.0, (196, 30, 36), SIGN), (0.66, white, DETAIL)):
            s = size * 1.25 * scale
            low = height - 0.5 * s
            build.polygon([(-s, low, z), (s, low, z), (0, low + 1.6 * s, z)], color, mark)
            z -= 0.01
        build.limb((0, height - 0.05, z), (0, height + 0.16, z), 0.04, dark)
    else:
        wide, tall = ((0.35, 0.45), (0.8, 0.45), (0.5, 0.75))[kind - 3]
        color, ink = (
            ((30, 80, 170), white), ((20, 96, 66), white), (white, dark), ((236, 200, 50), dark)
        )[rng.integers(4)]  # fmt: skip
        build.rectangle((-wide, wide), (height - tall, height + tall), z, color, SIGN)
        z -= 0.01
        for y in np.arange(height - tall + 0.12, height + tall - 0.1, 0.2).tolist():
            right = wide * float(rng.uniform(-0.2, 0.85))
            build.rectangle((-wide * 0.85, right), (y, y + 0.09), z, ink)
    if design % 5 == 0:
        build.rectangle((-0.28, 0.28), (height - 0.85, height - 0.55), -0.06, white, SIGN)
        build.rectangle((-0.2, 0.2), (height - 0.74, height - 0.66), -0.07, dark)
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
        build.rectangle(
            (-wide * 0.7, wide * rng.uniform(0.3, 0.75)), (y, y + 0.3 * tall), -0.06, ink
        )
    return build.build()


@lru_cache(maxsize=3)
def traffic_light(state: int) -> Mesh:
    """A signal on a post that looks along -z; state 0 red, 1 amber, 2 green."""
    build = MeshBuilder((0.0, 2.8, 0.5))
    build.limb((0, 0, 0), (0, 3.2, 0), 0.065, (46, 48, 50), POLE)
    build.rectangle((-0.26, 0.26), (2.15, 3.45), -0.1, (222, 222, 216), SIGN)
    build.rectangle((-0.22, 0.22), (2.2, 3.4), -0.12, (18, 18, 20), SIGN)
    lamps = ((230, 40, 34), (250, 176, 40), (60, 240, 150))
    for i, y in enumerate((3.18, 2.8, 2.42)):
        color: Color = lamps[i] if i == state else (42, 36, 36)
        build.disc((0, y, -0.14), 0.13, "z", color, glowing=i == state)
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
    build.limb((-radius * 0.4, 0, -0.02), (-radius * 0.3, 3.0, -0.02), radius * 0.35, lit)
    return build.build()


@lru_cache(maxsize=4)
def clutter(design: int) -> Mesh:
    """Things without a class: a litter bin, a letter box, a cabinet, sacks."""
    build = MeshBuilder((0.0, 0.5, 0.0))
    if design == 0:
        build.limb((0, 0.2, 0), (0, 0.85, 0), 0.27, (28, 40, 34), VOID)
        build.limb((0, 0.9, -0.01), (0, 0.92, -0.01), 0.26, (60, 66, 60))
    elif design == 1:
        build.limb((0, 0.2, 0), (0, 1.35, 0), 0.24, (180, 28, 34), VOID)
        build.rectangle((-0.13, 0.13), (1.15, 1.22), -0.25, (20, 18, 18))
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
