"""What lines the street behind the pavement: terraces, houses, parks, works and side roads."""

from __future__ import annotations

import math

import numpy as np

from camss_ros.street import plants, props, textures
from camss_ros.street.chunk import (
    BUILDINGS,
    CHUNK,
    FENCES,
    GARDENS,
    PAVEMENTS,
    Panel,
    Roadside,
    Solid,
    Tint,
    to_color,
)
from camss_ros.street.classes import BUILDING, FENCE, TREE
from camss_ros.street.furniture import plant_tree
from camss_ros.street.mesh import MeshBuilder
from camss_ros.street.road import KERB, LEFT, RIGHT
from camss_ros.street.textures import Texture
from camss_ros.street.vehicles import CAR_DESIGNS, CAR_SIZE, car

_STOREY = 3.0  # metres


def line_street(here: Roadside, zone: str, junction: bool, opens: bool) -> None:
    """Adds what stands behind the pavement of one side.

    Args:
        here: side of the chunk.
        zone: use of the land, one of `ZONES`.
        junction: a side road begins there.
        opens: the gable of the first building is seen, as no other stands before it.
    """
    if junction:
        _close_side_road(here)
    elif zone == "terrace":
        _build_terrace(here, opens)
    elif zone == "houses":
        _build_houses(here)
    elif zone == "park":
        _lay_park(here)
    else:
        _build_works(here, opens)


def _build(
    here: Roadside,
    near: float,
    far: float,
    offset: float,
    floors: int,
    ground: str,
    *,
    depth: float = 10.0,
    pitched: bool = True,
    exposed: bool = False,
    low: float = 0.0,
) -> None:
    """Adds a building: its body, roof, front and, where `exposed`, the gable towards -z.

    `low` is the height of the front's lower edge.
    """
    chunk, side, rng = here.chunk, here.side, here.rng
    road, items = chunk.road, chunk.items
    height = _STOREY * floors + 0.5
    if ground == "shop":
        height += 0.4
    design = int(rng.integers(textures.FACADE_DESIGNS))
    bays = min(5, max(2, round((far - near) / 2.7)))
    front = textures.facade(design, floors, bays, ground)
    tint = here.draw_tint(0.1)
    tone = front.level(4, 4)[0].reshape(-1, 3).mean(axis=0) * tint * 0.95
    a, b = (np.array(road.point(side * offset, 0.0, z)) for z in (near, far))
    out = np.array([side * depth, 0.0, 0.0])
    up = np.array([0.0, height, 0.0])
    body = MeshBuilder((a + b + out + up) / 2)
    rise = depth / 2 * float(rng.uniform(0.5, 0.8)) if pitched else 0.0
    ridge = np.array([side * depth / 2, height + rise, 0.0])
    wall = to_color(tone)
    body.polygon([a, a + out, a + out + up, a + up], wall, BUILDING)
    if pitched:
        body.polygon([a + up, a + out + up, a + ridge], wall, BUILDING)
    items.append(Solid(body.build(), near, BUILDINGS))
    if pitched:
        if rng.random() < 0.7:
            stack = props.chimney(int(rng.integers(4)))
            x, y, z = a + ridge + np.array([0, 0, 0.7])
            items.append(Solid(stack.placed(float(x), float(y), float(z)), near, BUILDINGS))
        one, other = (a, b) if side == LEFT else (b, a)
        normal = np.array([-side * rise, depth / 2, 0.0])
        normal /= np.linalg.norm(normal)
        origin = one + ridge
        tiles = textures.roof(design)
        slope = one + up - origin
        items.append(Panel(origin, other - one, slope, tiles, BUILDING, normal, near, BUILDINGS))
    here.put_along(near, far, offset, height - low, front, BUILDING, BUILDINGS, tint, low=low)
    if exposed:
        gable = textures.facade(design, floors, 3, "blind")
        _face(here, a[0], near, depth, height, gable, tint)
    chunk.cast(np.stack([a, a + out, b + out, b])[:, [0, 2]], height)


def _face(
    here: Roadside, x: float, z: float, width: float, height: float, texture: Texture, tint: Tint
) -> None:
    """Adds a wall that faces -z and reaches `width` metres away from the street from x on."""
    origin = np.array([x if here.side == RIGHT else x - width, height, z])
    u, v, normal = np.array([[width, 0.0, 0.0], [0.0, -height, 0.0], [0.0, 0.0, -1.0]])
    here.chunk.items.append(Panel(origin, u, v, texture, BUILDING, normal, z, BUILDINGS, tint))


def _build_terrace(here: Roadside, opens: bool) -> None:
    chunk, rng, offset = here.chunk, here.rng, here.edge + 0.02
    widths = rng.uniform(5, 11, int(rng.integers(2, 5)))
    ends = chunk.start + np.cumsum(widths) / widths.sum() * CHUNK
    near = chunk.start
    shops = rng.random() < 0.65
    for i, far in enumerate(ends.tolist()):
        floors = int(rng.choice([2, 3, 4, 5], p=[0.3, 0.4, 0.2, 0.1]))
        office = rng.random() < 0.12
        ground = "office" if office else "shop" if shops and rng.random() < 0.85 else "house"
        pitched = not office and rng.random() < 0.7
        exposed = i == 0 and opens
        _build(here, near, far, offset, floors, ground, pitched=pitched, exposed=exposed, low=KERB)
        if ground == "shop" and rng.random() < 0.35:
            board = props.shop_sign(int(rng.integers(6)))
            z = near + 1.5
            x = chunk.road.centre(z) + here.side * (offset - 0.55)
            chunk.items.append(
                Solid(board.placed(x, float(rng.uniform(2.9, 4.2)), z), z, PAVEMENTS)
            )
        near = far


def _build_houses(here: Roadside) -> None:
    rng, edge, start = here.rng, here.edge, here.chunk.start
    end = start + CHUNK
    setback = rng.uniform(3, 7)
    near = start + rng.uniform(0.5, 2)
    while near + 7 < end:
        far = min(near + rng.uniform(7, 10), end - 0.3)
        floors = int(rng.choice([1, 2, 3], p=[0.15, 0.7, 0.15]))
        _build(here, near, far, edge + setback, floors, "house", depth=9, exposed=True)
        near = far + rng.uniform(1.5, 4)
    kind = rng.choice(["wall", "hedge", "fence", "none"], p=[0.35, 0.3, 0.25, 0.1])
    _enclose(here, kind)
    for _ in range(int(rng.integers(0, 3))):
        plant_tree(here, edge + rng.uniform(0.8, setback - 1), small=True, layer=GARDENS)


def _lay_park(here: Roadside) -> None:
    rng, edge, start = here.rng, here.edge, here.chunk.start
    for piece in range(2):  # the edge of the wood closes the view
        near = start + piece * 12
        shrubs = plants.hedge(int(rng.integers(4)) * 2 + 1)
        offset, height = edge + rng.uniform(26, 34), rng.uniform(4, 8)
        tint = here.draw_tint(0.1)
        here.put_along(near, near + 12, offset, height, shrubs, TREE, BUILDINGS, tint)
    if rng.random() < 0.4:
        near = start + rng.uniform(0, 10)
        offset, floors = edge + rng.uniform(16, 24), int(rng.integers(1, 4))
        _build(here, near, near + 11, offset, floors, "house", exposed=True)
    for _ in range(int(rng.integers(4, 11))):
        plant_tree(here, edge + rng.uniform(1.5, 20), layer=GARDENS)
    kind = rng.choice(["fence", "hedge", "wall", "none"], p=[0.45, 0.2, 0.15, 0.2])
    _enclose(here, kind)


def _build_works(here: Roadside, opens: bool) -> None:
    rng, edge, start = here.rng, here.edge, here.chunk.start
    offset, floors = edge + rng.uniform(8, 14), int(rng.integers(1, 4))
    _build(
        here, start, start + CHUNK, offset, floors, "office",
        depth=20, pitched=False, exposed=opens,
    )  # fmt: skip
    _enclose(here, "fence")
    for _ in range(int(rng.integers(0, 4))):
        z = start + rng.uniform(1, CHUNK - 1)
        heading = rng.choice([0.0, math.pi / 2, -math.pi / 2])
        offset = edge + rng.uniform(3, 6)
        mesh = car(int(rng.integers(CAR_DESIGNS)))
        here.stand(mesh, offset, z, CAR_SIZE, heading, layer=GARDENS)


def _close_side_road(here: Roadside) -> None:
    """Adds the far side of a side road: a row of fronts that faces the camera."""
    rng, far = here.rng, here.chunk.start + CHUNK - 0.4
    x = here.chunk.road.centre(far) + here.side * here.edge
    for _ in range(3):
        bays = int(rng.integers(3, 6))
        floors = int(rng.integers(2, 4))
        kind = "house" if rng.random() < 0.7 else "shop"
        front = textures.facade(int(rng.integers(textures.FACADE_DESIGNS)), floors, bays, kind)
        width, height = bays * 2.7, _STOREY * floors + 0.5
        _face(here, x, far, width, height, front, here.draw_tint(0.1))
        x += here.side * width


def _enclose(here: Roadside, kind: str) -> None:
    """Adds a wall, hedge or fence behind the pavement, or none."""
    rng = here.rng
    design = int(rng.integers(12))
    tint = here.draw_tint(0.08)
    stretch = rng.uniform(0.8, 1.5)
    if kind == "none":
        return
    if kind == "hedge":
        height, label, texture = 1.4, TREE, plants.hedge(design % 4 * 2 + (design > 8))
    elif kind == "wall":
        height, label, texture = 0.9, BUILDING, textures.wall(design % 6)
    else:
        height, label, texture = 1.2, FENCE, textures.fence(design)
    offset, height, step = here.edge + 0.02, height * stretch, CHUNK / 3
    for piece in range(3):
        near = here.chunk.start + piece * step
        here.put_along(near, near + step, offset, height, texture, label, FENCES, tint, low=KERB)
