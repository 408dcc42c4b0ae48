"""People on foot and on bicycles as meshes, each from a small design number; they look along +z."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from camss_ros.street.classes import BICYCLIST, PEDESTRIAN
from camss_ros.street.mesh import Color, Mesh, MeshBuilder
from camss_ros.street.vehicles import PAINTS, TYRE

PERSON_DESIGNS = 32
PERSON_SIZE = (0.2, 0.15, 1.7)
"""Half width, half length and height in metres of what casts a person's shadow."""
STRIDE_PHASES = 8

_CLOTHES = (
    (30, 32, 40), (54, 56, 64), (38, 48, 84), (120, 30, 34), (140, 136, 128), (88, 80, 66),
    (22, 24, 26), (190, 186, 178), (60, 84, 70), (150, 110, 60), (60, 40, 70), (40, 90, 130),
    (200, 60, 50), (100, 110, 120),
)  # fmt: skip
_SKINS = ((224, 178, 150), (200, 150, 120), (150, 104, 78), (96, 66, 50), (232, 190, 166))
_HAIR = ((36, 28, 24), (70, 48, 32), (120, 90, 54), (170, 160, 150), (24, 22, 22))


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
        build.limb(hip, knee, 0.09 * scale, trousers, label, end_radius=0.068 * scale)
        build.limb(knee, ankle, 0.066 * scale, trousers, label, end_radius=0.05 * scale)
        toe = foot + np.array([0.0, 0.05, 0.14])
        build.limb(ankle - np.array([0, 0.03, 0]), toe, 0.045, (24, 22, 22), label)
    low, high = hips + np.array([0, 0.02, 0]), shoulders - np.array([0, 0.1 * scale, 0])
    for side in (-1, 1):
        off = np.array([side * 0.085 * scale, 0.0, 0.0])
        tone = coat if side > 0 else darker
        build.limb(low + off * 0.8, high + off, 0.12 * scale, tone, label)
    for side, hand in zip((-1, 1), hands, strict=True):
        shoulder = shoulders + np.array([side * 0.2, -0.06, 0.0]) * scale
        elbow = (shoulder + hand) / 2 + np.array([side * 0.04, -0.03, -0.07]) * scale
        build.limb(shoulder, elbow, 0.062 * scale, darker, label)
        build.limb(elbow, hand, 0.05 * scale, darker, label, end_radius=0.04 * scale)
        build.limb(hand, hand + np.array([0, -0.05, 0.01]), 0.042 * scale, skin, label)
    neck = shoulders + np.array([0.0, 0.02, 0.02]) * scale
    head = shoulders + np.array([0.0, 0.2, 0.03 + 0.2 * lean]) * scale
    build.limb(neck, head, 0.055 * scale, skin, label)
    build.limb(head, head + np.array([0, 0.05, 0.01]), 0.095 * scale, skin, label)
    back = head + np.array([0.0, 0.05, -0.05]) * scale
    build.limb(back, back + np.array([0, 0.03, 0.0]), 0.098 * scale, hair, label)


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
    paint: Color = PAINTS[rng.integers(len(PAINTS))]
    build = MeshBuilder((0.0, 0.6, 0.0))
    for z in (-0.52, 0.52):
        angles = np.linspace(0, 2 * math.pi, 15)
        rim = [(0.0, 0.34 + 0.33 * math.sin(a), z + 0.33 * math.cos(a)) for a in angles]
        for a, b in pairwise(rim):
            build.limb(a, b, 0.024, TYRE, BICYCLIST)
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
    build.rectangle((-0.03, 0.03), (0.74, 0.8), -0.33, (200, 30, 26), glowing=True)
    return build.build()
