"""The line and the cross-section of an endless road, with what a seed decides along it."""

from __future__ import annotations

import math

import numpy as np

KERB = 0.12
"""Height in metres of the pavement above the road."""
LEFT, RIGHT = -1, 1
SIDES = (LEFT, RIGHT)

ZONES = ("terrace", "houses", "park", "works")
_ORIGIN = 1 << 24  # keeps keys of random generators positive


class Road:
    """A road whose every detail follows from the seed. Traffic keeps to the left, as in CamVid.

    Args:
        seed: of everything.
        shadow: horizontal shift (x, z) in metres of the shadow of a point one metre high, or None
            where the sun casts none.
        density: factor on the number of people and vehicles.
        crossing: people cross the road.
    """

    def __init__(
        self,
        seed: int,
        *,
        shadow: tuple[float, float] | None = None,
        density: float = 1.0,
        crossing: bool = False,
    ) -> None:
        self.seed = seed
        self.shadow = shadow
        self.density = density
        self.crossing = crossing
        rng = np.random.default_rng((1, seed))
        self.lane = float(rng.uniform(3.0, 3.7))
        self.parking = {LEFT: rng.random() < 0.4, RIGHT: rng.random() < 0.5}
        self.pavement = {side: float(rng.uniform(1.8, 4.2)) for side in SIDES}
        self.kerb = {side: self.lane + 2.2 * self.parking[side] for side in SIDES}
        self.edge = {side: self.kerb[side] + self.pavement[side] for side in SIDES}
        self.asphalt = np.array((1.0, 1.0, 1.02)) * rng.uniform(78, 128)
        self.paving = np.array((1.0, 0.98, 0.95)) * rng.uniform(120, 172)
        self.grass = np.array(((92, 108, 52), (76, 98, 46), (112, 112, 62))[rng.integers(3)])
        self.double_yellow = rng.random() < 0.4
        self._zone_weights = rng.dirichlet((3.0, 1.8, 2.6, 0.5))
        self._bends = [
            (rng.uniform(0.015, 0.04) * length, length, rng.uniform(0, 2 * math.pi))
            for length in (rng.uniform(60, 90), rng.uniform(120, 180))
        ]
        self.speeds = {
            "oncoming": -float(rng.uniform(6, 12)),
            "bicycle": float(rng.uniform(3.5, 5.0)),
            "walk": float(rng.uniform(1.1, 1.5)),
        }

    def centre(self, z: float) -> float:
        """x of the middle of the road at z."""
        return sum(a * math.sin(z / length + phase) for a, length, phase in self._bends)

    def heading(self, z: float) -> float:
        """Direction of the road at z in radians, to the right of +z."""
        return math.atan(
            sum(a / length * math.cos(z / length + phase) for a, length, phase in self._bends)
        )

    def point(self, offset: float, y: float, z: float) -> tuple[float, float, float]:
        """World coordinates of a point `offset` metres to the right of the middle of the road."""
        return (self.centre(z) + offset, y, z)

    def rng(self, *key: int) -> np.random.Generator:
        """The generator of one detail."""
        return np.random.default_rng((2, self.seed, *(k + _ORIGIN for k in key)))

    def zone(self, index: int, side: int) -> str:
        """What the land beside chunk `index` is used for, one of `ZONES`."""
        rng = self.rng(1, index // 3 if side == LEFT else (index + 1) // 3, side)
        return str(rng.choice(ZONES, p=self._zone_weights))

    def junction(self, index: int, side: int) -> bool:
        """Whether a side road begins in chunk `index`."""
        return index % 3 == 1 and bool(self.rng(2, index, side).random() < 0.45)
