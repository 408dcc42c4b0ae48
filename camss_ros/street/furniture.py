"""What stands on the pavement and along the kerb: lamps, signs, trees, people, parked cars."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from camss_ros.street import plants, props, textures
from camss_ros.street.chunk import CHUNK, PAVEMENTS, RAILS, Panel, Roadside, Solid
from camss_ros.street.classes import FENCE, TREE
from camss_ros.street.people import PERSON_DESIGNS, PERSON_SIZE, pedestrian
from camss_ros.street.road import KERB, LEFT, RIGHT
from camss_ros.street.vehicles import CAR_DESIGNS, CAR_SIZE, car


def furnish(here: Roadside, zone: str, junction: bool, lit: bool) -> None:
    """Fills the pavement of one side.

    Args:
        here: side of the chunk.
        zone: use of the land behind the pavement.
        junction: a side road begins there, which leaves room for signals only.
        lit: a lamp stands there.
    """
    rng, side = here.rng, here.side
    road, start = here.chunk.road, here.chunk.start
    kerb, edge = here.kerb, here.edge
    stand = partial(here.stand, y=KERB, layer=PAVEMENTS)

    if lit:
        thin = (0.06, 0.06, 7.0)
        if zone == "houses" and road.seed % 3 == 0:
            stand(props.telegraph_pole(road.seed % 4), kerb + 0.4, start + 3, thin)
        else:
            over_road = math.pi if side == RIGHT else 0.0
            stand(props.lamp_post(road.seed % 16), kerb + 0.45, start + 3, thin, over_road)
    if junction:
        if rng.random() < 0.7:
            signal = props.traffic_light(int(rng.integers(3)))
            for z in (start + 0.8, start + 23):
                stand(signal, kerb + 0.4, z, (0.2, 0.1, 3.2))
        return
    for _ in range(int(rng.poisson(0.7))):
        heading = 0.0 if rng.random() < 0.7 else math.pi / 2 * -side
        z = start + rng.uniform(5, CHUNK - 1)
        stand(props.sign_post(int(rng.integers(24))), kerb + 0.4, z, (0.2, 0.05, 2.4), heading)
    if rng.random() < 0.2:
        first, post = start + rng.uniform(4, 12), props.bollard(int(rng.integers(8)))
        for number in range(int(rng.integers(3, 7))):
            stand(post, kerb + 0.3, first + 1.6 * number, (0.09, 0.09, 0.9))
    if rng.random() < 0.18 and zone != "works":
        thing = props.clutter(int(rng.integers(4)))
        stand(thing, edge - 0.4, start + rng.uniform(2, CHUNK - 2), (0.3, 0.3, 1))
    if road.pavement[side] > 2.2 and rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 3))):
            plant_tree(here, kerb + 0.7, small=zone == "terrace")
    elif rng.random() < 0.12:  # a guard rail along the kerb
        near = start + rng.uniform(4, 12)
        rail = textures.fence(int(rng.integers(2)) * 2)
        here.put_along(near, near + 8, kerb + 0.25, 1.05, rail, FENCE, RAILS, low=KERB)
    for _ in range(int(rng.poisson(0.5 * road.density))):  # people who stand together
        z = start + rng.uniform(1, CHUNK - 1)
        offset = rng.uniform(kerb + 0.6, max(edge - 0.3, kerb + 0.7))
        for i in range(int(rng.integers(1, 4))):
            mesh = pedestrian(int(rng.integers(PERSON_DESIGNS)), None)
            place = min(offset + 0.5 * (i % 2), edge - 0.2)
            stand(mesh, place, z + 0.5 * i, PERSON_SIZE, rng.uniform(0, 6.28))
    if road.parking[side]:
        for bay in range(4):
            if rng.random() < 0.62 * min(road.density, 1.3):
                mesh = car(int(rng.integers(CAR_DESIGNS)))
                heading = 0.0 if side == LEFT else math.pi
                z = start + 6 * bay + 3 + rng.uniform(-0.4, 0.4)
                here.stand(mesh, road.lane + 1.15, z, CAR_SIZE, heading)


def plant_tree(
    here: Roadside,
    offset: float,
    *,
    small: bool = False,
    layer: int = PAVEMENTS,
) -> None:
    """Adds a tree somewhere along the chunk, `offset` metres from the middle of the road."""
    chunk, rng, road = here.chunk, here.rng, here.chunk.road
    z = chunk.start + rng.uniform(0.5, CHUNK - 0.5)
    scale = rng.uniform(0.45, 0.7) if small else rng.uniform(0.8, 1.5)
    x = road.centre(z) + here.side * offset
    size = rng.uniform(4.2, 6.5) * scale
    y = KERB if layer == PAVEMENTS else 0.0
    stem = props.trunk(int(rng.integers(12))).placed(x, y, z)
    chunk.items.append(Solid(stem, z, layer))
    design = int(rng.integers(24))
    tall = size * rng.uniform(0.9, 1.3)
    bottom = 1.9 * scale if design % 2 == 0 else 2.6
    origin = np.array([x - size / 2, y + bottom + tall, z - 0.02])
    u, v = np.array([[size, 0.0, 0.0], [0.0, -tall, 0.0]])
    crown, tint = plants.crown(design), here.draw_tint(0.1)
    chunk.items.append(Panel(origin, u, v, crown, TREE, None, z, layer, tint))
    if road.shadow is not None:
        shift = np.array(road.shadow) * (bottom + tall / 2)
        angles = np.arange(12) * (math.pi / 6)
        round_ = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size * 0.42
        chunk.shade(round_ + np.array([x, z]) + shift, y)
