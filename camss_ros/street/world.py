"""An endless street: what stands where, made piece by piece from the seed and the distance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from camss_ros.street import props, textures
from camss_ros.street.classes import BUILDING, FENCE, PAVEMENT, ROAD, TREE, UNLABELLED
from camss_ros.street.mesh import Color, Mesh, MeshBuilder
from camss_ros.street.textures import Texture

CHUNK = 24.0
"""Length in metres of the pieces in which the street is made."""
KERB = 0.12
LEFT, RIGHT = -1, 1

# What is drawn first within one chunk.
BUILDINGS, GARDENS, FENCES, STREET = range(4)
_ORIGIN = 1 << 24  # keeps keys of random generators positive


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
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass
class Chunk:
    """One piece of street: the ground, what stands on it, and its shadows."""

    ground: Mesh
    items: list[Solid | Panel] = field(default_factory=list)
    shadows: list[np.ndarray] = field(default_factory=list)  # ground polygons [N, 3]


def _tint(rng: np.random.Generator, spread: float) -> tuple[float, float, float]:
    level = rng.normal(1, spread)
    r, g, b = np.clip(level + rng.normal(0, spread / 4, 3), 0.6, 1.3)
    return float(r), float(g), float(b)


class Street:
    """The static world and its traffic. Traffic keeps to the left, as in CamVid.

    shadow: horizontal shift (x, z) in metres of the shadow of a point one metre high, or None
    where the sun casts none. density scales the number of people and vehicles.
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
        self.pavement = {side: float(rng.uniform(1.8, 4.2)) for side in (LEFT, RIGHT)}
        self.kerb = {side: self.lane + 2.2 * self.parking[side] for side in (LEFT, RIGHT)}
        self.edge = {side: self.kerb[side] + self.pavement[side] for side in (LEFT, RIGHT)}
        self.asphalt = np.array((1.0, 1.0, 1.02)) * rng.uniform(78, 128)
        self.paving = np.array((1.0, 0.98, 0.95)) * rng.uniform(120, 172)
        self.grass = np.array(((92, 108, 52), (76, 98, 46), (112, 112, 62))[rng.integers(3)])
        self.double_yellow = rng.random() < 0.4
        zones = ("terrace", "houses", "park", "works")
        self.zones = zones
        self.zone_weights = rng.dirichlet((3.0, 1.8, 2.6, 0.5))
        self.bends = [
            (rng.uniform(0.015, 0.04) * length, length, rng.uniform(0, 2 * math.pi))
            for length in (rng.uniform(60, 90), rng.uniform(120, 180))
        ]
        self.speeds = {
            "oncoming": -float(rng.uniform(6, 12)),
            "bicycle": float(rng.uniform(3.5, 5.0)),
            "walk": float(rng.uniform(1.1, 1.5)),
        }
        self._chunk = lru_cache(maxsize=24)(self._make_chunk)
        self._slot = lru_cache(maxsize=4096)(self._draw_slot)

    def __reduce__(self) -> tuple:
        raise TypeError("a Street holds caches: pickle its seed and make it again")

    # The line of the road

    def centre(self, z: float) -> float:
        """x of the middle of the road at z."""
        return sum(a * math.sin(z / length + phase) for a, length, phase in self.bends)

    def heading(self, z: float) -> float:
        """Direction of the road at z in radians, to the right of +z."""
        return math.atan(
            sum(a / length * math.cos(z / length + phase) for a, length, phase in self.bends)
        )

    def _point(self, offset: float, y: float, z: float) -> tuple[float, float, float]:
        return (self.centre(z) + offset, y, z)

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((2, self.seed, *(k + _ORIGIN for k in key)))

    def _zone(self, index: int, side: int) -> str:
        rng = self._rng(1, index // 3 if side == LEFT else (index + 1) // 3, side)
        return str(rng.choice(self.zones, p=self.zone_weights))

    def _junction(self, index: int, side: int) -> bool:
        return index % 3 == 1 and bool(self._rng(2, index, side).random() < 0.45)

    def chunk(self, index: int) -> Chunk:
        """The piece from z = index * CHUNK on."""
        return self._chunk(index)

    def _make_chunk(self, index: int) -> Chunk:
        rng = self._rng(3, index)
        maker = _ChunkMaker(self, index, rng)
        return maker.make()

    # Traffic

    def _draw_slot(self, tag: int, k: int) -> tuple[float, ...]:
        return tuple(self._rng(4, tag, k).random(5).tolist())

    def _slots(
        self, tag: int, spacing: float, speed: float, time: float, near: float, far: float
    ) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        """Number, z and random numbers of a row of movers, all of one speed."""
        first = math.floor((near - speed * time) / spacing) - 1
        for k in range(first, math.ceil((far - speed * time) / spacing) + 1):
            draws = self._slot(tag, k)
            z = (k + 0.4 * draws[0]) * spacing + speed * time
            if near <= z <= far:
                yield k, z, draws

    def traffic(self, time: float, ego: float, far: float) -> Chunk:
        """Everything that moves, at `time` seconds, for a camera at z = ego."""
        chunk = Chunk(ground=MeshBuilder().build_empty())
        busy = self.density
        for k, z, draws in self._slots(1, 17.0, self.speeds["oncoming"], time, ego - 4, ego + far):
            if draws[1] < 0.5 * busy:
                self._vehicle(chunk, self.lane / 2, z, k, draws, math.pi)
        for k in range(8):
            draws = self._slot(2, k)
            sway = 2.5 * math.sin(0.15 * time + 6 * draws[2])
            z = ego + 12.0 + 15 * k + 6 * draws[0] + sway
            if draws[1] < 0.4 * busy and z < ego + far:
                self._vehicle(chunk, -self.lane / 2 + 0.3 * (draws[3] - 0.5), z, k + 7, draws, 0.0)
        for tag, side, heading in ((3, LEFT, 0.0), (4, RIGHT, math.pi)):
            speed = self.speeds["bicycle"] * (1 if side == LEFT else -1)
            for k, z, draws in self._slots(tag, 22.0, speed, time, ego + 3, ego + far):
                if draws[1] < 0.45 * busy:
                    phase = int(time * 9 + k) % props.STRIDE_PHASES
                    mesh = props.cyclist(int(draws[2] * 16), phase)
                    offset = side * (self.lane - 0.3 - 0.15 * draws[3])
                    self._stand(chunk, mesh, offset, z, heading, 0.0, (0.25, 0.85, 1.7))
        for side in (LEFT, RIGHT):
            for direction in (1, -1):
                speed = self.speeds["walk"] * direction
                tag = 6 + side + 4 * direction + 8
                for _, z, draws in self._slots(tag, 7.0, speed, time, ego + 2, ego + min(far, 70)):
                    if draws[1] < 0.28 * busy:
                        phase = int(time * 8 + 5 * draws[4] * 8) % props.STRIDE_PHASES
                        lateral = 0.75 + (self.pavement[side] - 1.2) * draws[3]
                        offset = side * (self.kerb[side] + lateral)
                        heading = 0.0 if direction > 0 else math.pi
                        self._walker(chunk, offset, z, draws[2], phase, heading, KERB)
        if self.crossing:
            for k in range(4):
                draws = self._slot(5, k)
                if draws[0] < 0.5:
                    offset = (2 * draws[1] - 1) * (self.lane + 1)
                    heading = math.copysign(math.pi / 2, draws[2] - 0.5)
                    z = ego + 5 + 28 * draws[3]
                    self._walker(chunk, offset, z, draws[4], int(draws[4] * 800) % 8, heading, 0.0)
        return chunk

    def _walker(
        self,
        chunk: Chunk,
        offset: float,
        z: float,
        draw: float,
        phase: int | None,
        heading: float,
        y: float,
    ) -> None:
        mesh = props.pedestrian(int(draw * props.PERSON_DESIGNS), phase)
        self._stand(chunk, mesh, offset, z, heading, y, (0.2, 0.15, 1.7))

    def _vehicle(
        self,
        chunk: Chunk,
        offset: float,
        z: float,
        k: int,
        draws: tuple[float, ...],
        heading: float,
    ) -> None:
        if draws[4] < 0.08:
            self._stand(chunk, props.bus(k % 12), offset, z + 3.5, heading, 0.0, (1.25, 5.0, 3.3))
        else:
            mesh = props.car(int(draws[2] * props.CAR_DESIGNS))
            self._stand(chunk, mesh, offset, z, heading, 0.0, (0.85, 2.1, 1.3))

    def _stand(
        self,
        chunk: Chunk,
        mesh: Mesh,
        offset: float,
        z: float,
        heading: float,
        y: float,
        size: tuple[float, float, float] | None = None,
        layer: int = STREET,
    ) -> None:
        """Puts a mesh on the street; size (half width, half length, height) casts a shadow."""
        x = self.centre(z) + offset
        turn = heading + self.heading(z)
        chunk.items.append(Solid(mesh.placed(x, y, z, turn), z, layer))
        if size is None:
            return
        half_width, half_length, height = size
        along = np.array([math.sin(turn), math.cos(turn)])
        across = np.array([along[1], -along[0]])
        base = np.array([x, z]) + np.array(
            [
                i * half_width * across + j * half_length * along
                for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
        )
        chunk.shadows.append(_on_ground(base, y + 0.01))
        self.cast(chunk, base, height, y)

    def cast(self, chunk: Chunk, base: np.ndarray, height: float, y: float = 0.0) -> None:
        """Adds the sun's shadow of an upright body over the ground polygon base [N, 2]."""
        if self.shadow is None:
            return
        reach = np.concatenate([base, base + np.array(self.shadow) * height])
        hull = cv2.convexHull(reach.astype(np.float32))[:, 0].astype(float)
        chunk.shadows.append(_on_ground(hull, y + 0.01))


def _on_ground(polygon: np.ndarray, y: float) -> np.ndarray:
    return np.stack([polygon[:, 0], np.full(len(polygon), y), polygon[:, 1]], axis=1)


class _ChunkMaker:
    """Fills one chunk."""

    def __init__(self, street: Street, index: int, rng: np.random.Generator) -> None:
        self.street = street
        self.index = index
        self.rng = rng
        self.start = index * CHUNK
        self.build = MeshBuilder((0.0, -50.0, self.start))
        self.chunk = Chunk(ground=self.build.build_empty())

    def make(self) -> Chunk:
        street = self.street
        junctions = {side: street._junction(self.index, side) for side in (LEFT, RIGHT)}
        zones = {side: street._zone(self.index, side) for side in (LEFT, RIGHT)}
        self._lay_ground(zones, junctions)
        for side in (LEFT, RIGHT):
            if junctions[side]:
                self._junction_corner(side)
            elif zones[side] == "terrace":
                self._terrace(side)
            elif zones[side] == "houses":
                self._houses(side)
            elif zones[side] == "park":
                self._park(side)
            else:
                self._works(side)
            self._furnish(side, zones[side], junctions[side])
        self._mark_road(any(junctions.values()))
        self.chunk.ground = self.build.build()
        return self.chunk

    # Ground

    def _strip(
        self,
        near: float,
        far: float,
        one: float,
        other: float,
        y: float,
        color: np.ndarray | Color,
        label: int,
    ) -> None:
        point, (left, right) = self.street._point, sorted((one, other))
        self.build.polygon(
            [
                point(left, y, near),
                point(right, y, near),
                point(right, y, far),
                point(left, y, far),
            ],
            _color(color),
            label,
            culled=False,
        )

    def _lay_ground(self, zones: dict[int, str], junctions: dict[int, bool]) -> None:
        street = self.street
        # Far to near, since the pavement is higher than the road.
        for step in range(3, -1, -1):
            near, far = self.start + 6 * step, self.start + 6 * (step + 1)
            side_road = step in (1, 2)
            for side in (LEFT, RIGHT):
                kerb, edge = street.kerb[side], street.edge[side]
                if junctions[side]:
                    color, label = (
                        (street.asphalt, ROAD) if side_road else (street.paving * 0.97, PAVEMENT)
                    )
                    self._strip(near, far, side * edge, side * 90, 0.0, color, label)
                elif zones[side] in ("houses", "park"):
                    self._strip(near, far, side * edge, side * 90, 0.0, street.grass, TREE)
                else:
                    paved = street.paving * 0.85
                    self._strip(near, far, side * edge, side * 90, 0.0, paved, PAVEMENT)
            left, right = -street.kerb[LEFT], street.kerb[RIGHT]
            left -= street.pavement[LEFT] * (junctions[LEFT] and side_road)
            right += street.pavement[RIGHT] * (junctions[RIGHT] and side_road)
            self._strip(near, far, left, right, 0.0, street.asphalt, ROAD)
            for side in (LEFT, RIGHT):
                if junctions[side] and side_road:
                    continue
                kerb, edge = side * street.kerb[side], side * street.edge[side]
                self._strip(near, far, kerb, edge, KERB, street.paving, PAVEMENT)
                stone = kerb + side * 0.16
                self._strip(near, far, kerb, stone, KERB, street.paving * 1.12, PAVEMENT)
                point = street._point
                face = [
                    point(kerb, 0, near),
                    point(kerb, KERB, near),
                    point(kerb, KERB, far),
                    point(kerb, 0, far),
                ]
                self.build.polygon(face, _color(street.paving * 0.68), PAVEMENT, culled=False)
                if junctions[side] and step == 3:  # the kerb across the far corner
                    across = [
                        point(x, y, near)
                        for x, y in ((kerb, 0), (edge, 0), (edge, KERB), (kerb, KERB))
                    ]
                    self.build.polygon(across, _color(street.paving * 0.68), PAVEMENT, culled=False)
                if street.double_yellow and not street.parking[side]:
                    for gap in (0.2, 0.42):
                        line = kerb - side * gap
                        self._strip(
                            near, far, line - 0.05, line + 0.05, 0.0, (196, 170, 60), UNLABELLED
                        )

    def _mark_road(self, junction: bool) -> None:
        street, rng = self.street, self.rng
        white = np.array((214, 214, 208)) * rng.uniform(0.75, 1.0)
        for _ in range(int(rng.integers(0, 3))):  # mended places
            near = self.start + rng.uniform(0, CHUNK - 6)
            left = rng.uniform(-street.lane, street.lane - 1)
            tone = street.asphalt * rng.uniform(0.72, 1.2)
            self._strip(
                near,
                near + rng.uniform(1, 6),
                left,
                left + rng.uniform(0.6, 2),
                0.0,
                tone,
                UNLABELLED,
            )
        for _ in range(int(rng.integers(0, 3))):  # manhole covers
            z, offset = self.start + rng.uniform(0, CHUNK), rng.uniform(-street.lane, street.lane)
            x = street.centre(z) + offset
            ring = [
                (x + 0.32 * math.cos(a), 0.0, z + 0.32 * math.sin(a)) for a in np.arange(10) * 0.628
            ]
            self.build.polygon(ring, _color(street.asphalt * 0.55), UNLABELLED, culled=False)
        for dash in range(4):
            near = self.start + 6 * dash + 1
            self._strip(near, near + 3.6, -0.06, 0.06, 0.0, white, UNLABELLED)
        for side in (LEFT, RIGHT):
            if street.parking[side]:
                for bay in range(4):
                    near = self.start + 6 * bay
                    left, right = sorted((side * street.lane, side * street.kerb[side]))
                    self._strip(near, near + 0.1, left, right, 0.0, white, UNLABELLED)
        if junction and rng.random() < 0.6:
            for offset in np.arange(
                -street.kerb[LEFT] + 0.4, street.kerb[RIGHT] - 0.5, 1.1
            ).tolist():
                self._strip(
                    self.start + 1.5,
                    self.start + 4.0,
                    offset,
                    offset + 0.55,
                    0.0,
                    white,
                    UNLABELLED,
                )
            self._strip(self.start + 0.3, self.start + 0.6, -street.lane, 0, 0.0, white, UNLABELLED)
        elif rng.random() < 0.2:  # an arrow
            middle, z = -street.lane / 2, self.start + 12
            self._strip(z - 2.5, z, middle - 0.1, middle + 0.1, 0.0, white, UNLABELLED)
            point = street._point
            tip = [point(middle - 0.4, 0, z), point(middle + 0.4, 0, z), point(middle, 0, z + 1.8)]
            self.build.polygon(tip, _color(white), UNLABELLED, culled=False)

    # Buildings

    def _upright(
        self,
        side: int,
        near: float,
        far: float,
        offset: float,
        low: float,
        height: float,
        texture: Texture,
        label: int,
        layer: int,
        tint: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """A panel along the street."""
        point = self.street._point
        a = np.array(point(side * offset, low + height, near))
        b = np.array(point(side * offset, low + height, far))
        origin, u = (a, b - a) if side == LEFT else (b, a - b)
        normal = np.array([-side * (far - near), 0.0, side * (b - a)[0]])
        normal /= np.linalg.norm(normal)
        v = np.array([0.0, -height, 0.0])
        self.chunk.items.append(Panel(origin, u, v, texture, label, normal, near, layer, tint))

    def _building(
        self,
        side: int,
        near: float,
        far: float,
        offset: float,
        floors: int,
        ground: str,
        *,
        depth: float = 10.0,
        pitched: bool = True,
        exposed: bool = False,
    ) -> None:
        street, rng, items = self.street, self.rng, self.chunk.items
        height = 3.0 * floors + 0.5
        if ground == "shop":
            height += 0.4
        design = int(rng.integers(textures.FACADE_DESIGNS))
        bays = min(5, max(2, round((far - near) / 2.7)))
        front = textures.facade(design, floors, bays, ground)
        tint = _tint(rng, 0.1)
        tone = front.level(4, 4)[0].reshape(-1, 3).mean(axis=0) * tint * 0.95
        a = np.array(street._point(side * offset, 0.0, near))
        b = np.array(street._point(side * offset, 0.0, far))
        out = np.array([side * depth, 0.0, 0.0])
        up = np.array([0.0, height, 0.0])
        body = MeshBuilder((a + b + out + up) / 2)
        rise = depth / 2 * float(rng.uniform(0.5, 0.8)) if pitched else 0.0
        ridge = np.array([side * depth / 2, height + rise, 0.0])
        wall: Color = _color(tone)
        body.polygon([a, a + out, a + out + up, a + up], wall, BUILDING)
        if pitched:
            body.polygon([a + up, a + out + up, a + ridge], wall, BUILDING)
            body.polygon([b + up, b + out + up, b + ridge], wall, BUILDING, culled=False)
        items.append(Solid(body.build(), near, BUILDINGS))
        if pitched:
            if rng.random() < 0.7:
                stack = props.chimney(int(rng.integers(4)))
                x, y, z = a + ridge + np.array([0, 0, 0.7])
                items.append(Solid(stack.placed(float(x), float(y), float(z)), near, BUILDINGS))
            eave_a, eave_b = a + up, b + up
            slope = eave_a - (a + ridge)
            origin, u = (a + ridge, b - a) if side == LEFT else (b + ridge, a - b)
            v = slope if side == LEFT else eave_b - (b + ridge)
            normal = np.array([-side * rise, depth / 2, 0.0])
            items.append(
                Panel(
                    origin,
                    u,
                    v,
                    textures.roof(design),
                    BUILDING,
                    normal / np.linalg.norm(normal),
                    near,
                    BUILDINGS,
                )
            )
        self._upright(side, near, far, offset, 0.0, height, front, BUILDING, BUILDINGS, tint)
        if exposed:
            gable = textures.facade(design, floors, 3, "blind")
            corner = a + up if side == RIGHT else a + up + out
            u = np.array([depth, 0.0, 0.0])
            items.append(
                Panel(
                    corner,
                    u,
                    -up,
                    gable,
                    BUILDING,
                    np.array([0.0, 0.0, -1.0]),
                    near,
                    BUILDINGS,
                    tint,
                )
            )
        base = np.stack([a, a + out, b + out, b])[:, [0, 2]]
        street.cast(self.chunk, base, height)

    def _terrace(self, side: int) -> None:
        rng, offset = self.rng, self.street.edge[side] + 0.02
        widths = rng.uniform(5, 11, int(rng.integers(2, 5)))
        ends = self.start + np.cumsum(widths) / widths.sum() * CHUNK
        near = self.start
        shops = rng.random() < 0.65
        for i, far in enumerate(ends):
            floors = int(rng.choice([2, 3, 4, 5], p=[0.3, 0.4, 0.2, 0.1]))
            office = rng.random() < 0.12
            ground = "office" if office else "shop" if shops and rng.random() < 0.85 else "house"
            exposed = i == 0 and self._open_before(side)
            self._building(
                side,
                near,
                float(far),
                offset,
                floors,
                ground,
                pitched=not office and rng.random() < 0.7,
                exposed=exposed,
            )
            if ground == "shop" and rng.random() < 0.35:
                board = props.shop_sign(int(rng.integers(6)))
                z = near + 1.5
                x = self.street.centre(z) + side * (offset - 0.55)
                item = Solid(board.placed(x, float(rng.uniform(2.9, 4.2)), z), z, STREET)
                self.chunk.items.append(item)
            near = float(far)

    def _open_before(self, side: int) -> bool:
        street = self.street
        before = self.index - 1
        return street._junction(before, side) or street._zone(before, side) != "terrace"

    def _houses(self, side: int) -> None:
        rng, edge = self.rng, self.street.edge[side]
        setback = rng.uniform(3, 7)
        near = self.start + rng.uniform(0.5, 2)
        while near + 7 < self.start + CHUNK:
            far = min(near + rng.uniform(7, 10), self.start + CHUNK - 0.3)
            floors = int(rng.choice([1, 2, 3], p=[0.15, 0.7, 0.15]))
            self._building(side, near, far, edge + setback, floors, "house", depth=9, exposed=True)
            near = far + rng.uniform(1.5, 4)
        self._boundary(
            side, rng.choice(["wall", "hedge", "fence", "none"], p=[0.35, 0.3, 0.25, 0.1])
        )
        for _ in range(int(rng.integers(0, 3))):
            self._tree(side, edge + rng.uniform(0.8, setback - 1), small=True, layer=GARDENS)

    def _boundary(self, side: int, kind: str) -> None:
        rng, edge = self.rng, self.street.edge[side]
        step = CHUNK / 3
        design = int(rng.integers(12))
        tint = _tint(rng, 0.08)
        height = {"wall": 0.9, "hedge": 1.4, "fence": 1.2, "none": 0.0}[kind] * rng.uniform(
            0.8, 1.5
        )
        if kind == "none":
            return
        for piece in range(3):
            near = self.start + piece * step
            if kind == "hedge":
                texture, label = textures.hedge(design % 4 * 2 + (design > 8)), TREE
            elif kind == "wall":
                texture, label = textures.wall(design % 6), BUILDING
            else:
                texture, label = textures.fence(design), FENCE
            self._upright(
                side, near, near + step, edge + 0.1, 0.0, height, texture, label, FENCES, tint
            )

    def _park(self, side: int) -> None:
        rng, edge = self.rng, self.street.edge[side]
        for piece in range(2):  # the edge of the wood closes the view
            near = self.start + piece * 12
            design = int(rng.integers(4)) * 2 + 1
            self._upright(
                side,
                near,
                near + 12,
                edge + rng.uniform(26, 34),
                0.0,
                rng.uniform(4, 8),
                textures.hedge(design),
                TREE,
                BUILDINGS,
                _tint(rng, 0.1),
            )
        if rng.random() < 0.4:
            near = self.start + rng.uniform(0, 10)
            self._building(
                side,
                near,
                near + 11,
                edge + rng.uniform(16, 24),
                int(rng.integers(1, 4)),
                "house",
                exposed=True,
            )
        for _ in range(int(rng.integers(4, 11))):
            self._tree(side, edge + rng.uniform(1.5, 20), layer=GARDENS)
        self._boundary(
            side, rng.choice(["fence", "hedge", "wall", "none"], p=[0.45, 0.2, 0.15, 0.2])
        )

    def _works(self, side: int) -> None:
        rng, edge = self.rng, self.street.edge[side]
        self._building(
            side,
            self.start,
            self.start + CHUNK,
            edge + rng.uniform(8, 14),
            int(rng.integers(1, 4)),
            "office",
            depth=20,
            pitched=False,
            exposed=self._open_before(side),
        )
        self._boundary(side, "fence")
        for _ in range(int(rng.integers(0, 4))):
            z = self.start + rng.uniform(1, CHUNK - 1)
            heading = rng.choice([0.0, math.pi / 2, -math.pi / 2])
            offset = side * (edge + rng.uniform(3, 6))
            mesh = props.car(int(rng.integers(props.CAR_DESIGNS)))
            self.street._stand(self.chunk, mesh, offset, z, heading, 0.0, (0.85, 2.1, 1.3), GARDENS)

    def _junction_corner(self, side: int) -> None:
        """The far side of a side road: a row of fronts that faces the camera."""
        rng, street = self.rng, self.street
        far = self.start + CHUNK - 0.4
        x = street.centre(far) + side * street.edge[side]
        for _ in range(3):
            bays = int(rng.integers(3, 6))
            floors = int(rng.integers(2, 4))
            kind = "house" if rng.random() < 0.7 else "shop"
            texture = textures.facade(
                int(rng.integers(textures.FACADE_DESIGNS)), floors, bays, kind
            )
            width, height = bays * 2.7, 3.0 * floors + 0.5
            left = x if side == RIGHT else x - width
            self.chunk.items.append(
                Panel(
                    np.array([left, height, far]),
                    np.array([width, 0.0, 0.0]),
                    np.array([0.0, -height, 0.0]),
                    texture,
                    BUILDING,
                    np.array([0.0, 0.0, -1.0]),
                    far,
                    BUILDINGS,
                    _tint(rng, 0.1),
                )
            )
            x += side * width

    # Furniture

    def _tree(self, side: int, offset: float, *, small: bool = False, layer: int = STREET) -> None:
        rng, street = self.rng, self.street
        z = self.start + rng.uniform(0.5, CHUNK - 0.5)
        scale = rng.uniform(0.45, 0.7) if small else rng.uniform(0.8, 1.5)
        x = street.centre(z) + side * offset
        low = 1.9 * scale
        size = rng.uniform(4.2, 6.5) * scale
        stem = props.trunk(int(rng.integers(12))).placed(x, 0.0, z)
        self.chunk.items.append(Solid(stem, z, layer))
        design = int(rng.integers(24))
        tall = size * rng.uniform(0.9, 1.3)
        bottom = low if design % 2 == 0 else 2.6
        origin = np.array([x - size / 2, bottom + tall, z - 0.02])
        self.chunk.items.append(
            Panel(
                origin,
                np.array([size, 0.0, 0.0]),
                np.array([0.0, -tall, 0.0]),
                textures.crown(design),
                TREE,
                None,
                z,
                layer,
                _tint(rng, 0.1),
            )
        )
        if street.shadow is not None:
            shift = np.array(street.shadow) * (bottom + tall / 2)
            angles = np.arange(12) * (math.pi / 6)
            round_ = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size * 0.42
            self.chunk.shadows.append(_on_ground(round_ + np.array([x, z]) + shift, 0.01))

    def _furnish(self, side: int, zone: str, junction: bool) -> None:
        rng, street = self.rng, self.street
        kerb, edge = street.kerb[side], street.edge[side]
        inward = math.pi if side == RIGHT else 0.0

        def stand(
            mesh: Mesh,
            offset: float,
            z: float,
            heading: float = 0.0,
            size: tuple[float, float, float] | None = None,
        ) -> None:
            street._stand(self.chunk, mesh, side * offset, z, heading, KERB, size)

        if (self.index + (side == RIGHT)) % 2 == 0:
            thin = (0.06, 0.06, 7.0)
            if zone == "houses" and street.seed % 3 == 0:
                stand(props.telegraph_pole(street.seed % 4), kerb + 0.4, self.start + 3, 0.0, thin)
            else:
                stand(props.lamp_post(street.seed % 16), kerb + 0.45, self.start + 3, inward, thin)
        if junction:
            if rng.random() < 0.7:
                state = int(rng.integers(3))
                for z in (self.start + 0.8, self.start + 23):
                    stand(props.traffic_light(state), kerb + 0.4, z, 0.0, (0.2, 0.1, 3.2))
            return
        for _ in range(int(rng.poisson(0.7))):
            heading = 0.0 if rng.random() < 0.7 else math.pi / 2 * -side
            z = self.start + rng.uniform(5, CHUNK - 1)
            stand(props.sign_post(int(rng.integers(24))), kerb + 0.4, z, heading, (0.2, 0.05, 2.4))
        if rng.random() < 0.2:
            first, kind = self.start + rng.uniform(4, 12), int(rng.integers(8))
            for post in range(int(rng.integers(3, 7))):
                stand(props.bollard(kind), kerb + 0.3, first + 1.6 * post, 0.0, (0.09, 0.09, 0.9))
        if rng.random() < 0.18 and zone != "works":
            street_edge = props.clutter(int(rng.integers(4)))
            stand(
                street_edge, edge - 0.4, self.start + rng.uniform(2, CHUNK - 2), 0.0, (0.3, 0.3, 1)
            )
        if street.pavement[side] > 2.2 and rng.random() < 0.5:
            for _ in range(int(rng.integers(1, 3))):
                self._tree(side, kerb + 0.7, small=zone == "terrace")
        elif rng.random() < 0.12:  # a guard rail along the kerb
            near = self.start + rng.uniform(4, 12)
            texture = textures.fence(int(rng.integers(2)) * 2)
            self._upright(side, near, near + 8, kerb + 0.25, KERB, 1.05, texture, FENCE, STREET)
        for _ in range(int(rng.poisson(0.5 * street.density))):
            z = self.start + rng.uniform(1, CHUNK - 1)
            offset = rng.uniform(kerb + 0.6, max(edge - 0.3, kerb + 0.7))
            for i in range(int(rng.integers(1, 4))):
                design = int(rng.integers(props.PERSON_DESIGNS))
                mesh = props.pedestrian(design, None)
                place = min(offset + 0.5 * (i % 2), edge - 0.2)
                stand(mesh, place, z + 0.5 * i, rng.uniform(0, 6.28), (0.2, 0.15, 1.7))
        if street.parking[side]:
            for bay in range(4):
                if rng.random() < 0.62 * min(street.density, 1.3):
                    mesh = props.car(int(rng.integers(props.CAR_DESIGNS)))
                    heading = 0.0 if side == LEFT else math.pi
                    z = self.start + 6 * bay + 3 + rng.uniform(-0.4, 0.4)
                    offset = side * (street.lane + 1.15)
                    size = (0.85, 2.1, 1.3)
                    street._stand(self.chunk, mesh, offset, z, heading, 0.0, size)


def _color(rgb: np.ndarray | Color) -> Color:
    r, g, b = (int(min(255, max(0, c))) for c in rgb)
    return r, g, b
