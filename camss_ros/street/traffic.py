"""What moves along the street: vehicles, bicycles and people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from camss_ros.street.chunk import PAVEMENTS, STREET, Chunk, Size
from camss_ros.street.people import PERSON_DESIGNS, PERSON_SIZE, STRIDE_PHASES, cyclist, pedestrian
from camss_ros.street.road import KERB, LEFT, RIGHT, SIDES, Road
from camss_ros.street.vehicles import CAR_DESIGNS, CAR_SIZE, bus, car

_BUS_SIZE: Size = (1.25, 5.0, 3.3)
_CYCLIST_SIZE: Size = (0.25, 0.85, 1.7)

Draws = tuple[float, ...]


class Traffic:
    """The traffic of a road, which follows from the time alone."""

    def __init__(self, road: Road) -> None:
        self._road = road
        self._slot = lru_cache(maxsize=4096)(self._draw_slot)

    def at(self, time: float, ego: float, far: float) -> Chunk:
        """Everything that moves, at `time` seconds, for a camera at z = ego that sees `far` m."""
        road, busy = self._road, self._road.density
        chunk = Chunk(road)
        oncoming = road.speeds["oncoming"]
        for k, z, draws in self._slots(1, 17.0, oncoming, time, ego - 4, ego + far):
            if draws[1] < 0.5 * busy:
                _drive(chunk, road.lane / 2, z, k, draws, math.pi)
        for k in range(8):
            draws = self._slot(2, k)
            sway = 2.5 * math.sin(0.15 * time + 6 * draws[2])
            z = ego + 12.0 + 15 * k + 6 * draws[0] + sway
            if draws[1] < 0.4 * busy and z < ego + far:
                _drive(chunk, -road.lane / 2 + 0.3 * (draws[3] - 0.5), z, k + 7, draws, 0.0)
        for tag, side, heading in ((3, LEFT, 0.0), (4, RIGHT, math.pi)):
            speed = road.speeds["bicycle"] * -side
            for k, z, draws in self._slots(tag, 22.0, speed, time, ego + 3, ego + far):
                if draws[1] < 0.45 * busy:
                    mesh = cyclist(int(draws[2] * 16), int(time * 9 + k) % STRIDE_PHASES)
                    offset = side * (road.lane - 0.3 - 0.15 * draws[3])
                    chunk.stand(mesh, offset, z, heading, 0.0, _CYCLIST_SIZE)
        for side in SIDES:
            for direction in (1, -1):
                speed = road.speeds["walk"] * direction
                tag = 6 + side + 4 * direction + 8
                for _, z, draws in self._slots(tag, 7.0, speed, time, ego + 2, ego + min(far, 70)):
                    if draws[1] < 0.28 * busy:
                        phase = int(time * 8 + 5 * draws[4] * 8)
                        lateral = 0.75 + (road.pavement[side] - 1.2) * draws[3]
                        heading = 0.0 if direction > 0 else math.pi
                        offset = side * (road.kerb[side] + lateral)
                        _walk(chunk, offset, z, draws[2], phase, heading, KERB)
        if road.crossing:
            for k in range(4):
                draws = self._slot(5, k)
                if draws[0] < 0.5:
                    offset = (2 * draws[1] - 1) * (road.lane + 1)
                    heading = math.copysign(math.pi / 2, draws[2] - 0.5)
                    z = ego + 5 + 28 * draws[3]
                    kerb = road.kerb[RIGHT if offset > 0 else LEFT]
                    y = KERB if abs(offset) > kerb else 0.0
                    _walk(chunk, offset, z, draws[4], int(draws[4] * 800), heading, y)
        return chunk

    def _draw_slot(self, tag: int, k: int) -> Draws:
        return tuple(self._road.rng(4, tag, k).random(5).tolist())

    def _slots(
        self, tag: int, spacing: float, speed: float, time: float, near: float, far: float
    ) -> Iterator[tuple[int, float, Draws]]:
        """Number, z and random numbers of a row of movers, all of one speed."""
        first = math.floor((near - speed * time) / spacing) - 1
        for k in range(first, math.ceil((far - speed * time) / spacing) + 1):
            draws = self._slot(tag, k)
            z = (k + 0.4 * draws[0]) * spacing + speed * time
            if near <= z <= far:
                yield k, z, draws


def _walk(
    chunk: Chunk, offset: float, z: float, draw: float, phase: int, heading: float, y: float
) -> None:
    mesh = pedestrian(int(draw * PERSON_DESIGNS), phase % STRIDE_PHASES)
    layer = PAVEMENTS if y else STREET
    chunk.stand(mesh, offset, z, heading, y, PERSON_SIZE, layer)


def _drive(chunk: Chunk, offset: float, z: float, k: int, draws: Draws, heading: float) -> None:
    if draws[4] < 0.08:
        chunk.stand(bus(k % 12), offset, z + 3.5, heading, 0.0, _BUS_SIZE)
    else:
        mesh = car(int(draws[2] * CAR_DESIGNS))
        chunk.stand(mesh, offset, z, heading, 0.0, CAR_SIZE)
