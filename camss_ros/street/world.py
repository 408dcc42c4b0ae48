"""An endless street: what stands where, made piece by piece from the seed and the distance."""

from __future__ import annotations

from functools import lru_cache

from camss_ros.street.buildings import line_street
from camss_ros.street.chunk import CHUNK, Chunk, Roadside
from camss_ros.street.furniture import furnish
from camss_ros.street.ground import lay_ground, mark_road
from camss_ros.street.road import RIGHT, SIDES, Road
from camss_ros.street.traffic import Traffic


class Street:
    """The static world and its traffic along a road."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.chunk = lru_cache(maxsize=24)(self._make_chunk)
        self.traffic = Traffic(road)

    def __reduce__(self) -> tuple:
        raise TypeError("a Street holds caches: pickle its seed and make it again")

    def _make_chunk(self, index: int) -> Chunk:
        """The piece from z = index * CHUNK on."""
        road, rng = self.road, self.road.rng(3, index)
        chunk = Chunk(road, index * CHUNK)
        junctions = {side: road.junction(index, side) for side in SIDES}
        zones = {side: road.zone(index, side) for side in SIDES}
        lay_ground(chunk, zones, junctions)
        for side in SIDES:
            here, zone, junction = Roadside(chunk, side, rng), zones[side], junctions[side]
            opens = road.junction(index - 1, side) or road.zone(index - 1, side) != "terrace"
            line_street(here, zone, junction, opens)
            furnish(here, zone, junction, lit=(index + (side == RIGHT)) % 2 == 0)
        mark_road(chunk, rng, any(junctions.values()))
        return chunk
