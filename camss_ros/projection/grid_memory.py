"""Occupancy over several frames: log odds in cells that stay where they are on the ground.

Thrun, Burgard, Fox: Probabilistic Robotics, 2005, section 4.2 and table 9.1.
"""

from __future__ import annotations

import math

import numpy as np

from camss_ros.projection.ground import GridLayout
from camss_ros.projection.ground_classes import UNKNOWN

# No frame is believed more than that, and many not for ever: the world changes.
_MOST_OF_A_FRAME = math.log(0.9 / 0.1)
_MOST = math.log(0.98 / 0.02)


class GridMemory:
    """Joins the grids of a moving vehicle.

    Cells are those of a square around the vehicle, along the axes of the odometry's frame; it moves
    with the vehicle by whole cells, so that nothing is blurred.
    """

    def __init__(self, layout: GridLayout) -> None:
        self._layout = layout
        self._half = math.ceil(layout.radius / layout.resolution) + 2
        x, y = layout.centres()
        self._centres = np.stack([x.ravel(), y.ravel()])
        self.clear()

    def clear(self) -> None:
        """Forget everything: the odometry has jumped."""
        self._odds = np.zeros((2 * self._half + 1,) * 2, np.float32)
        self._known = np.zeros(self._odds.shape, bool)
        self._middle = np.zeros(2, np.int64)  # column and row in the odometry's frame

    def update(self, grid: np.ndarray, x: float, y: float, yaw: float) -> np.ndarray:
        """Add a frame and return the grid of all so far, both int8 [rows, columns] in percent.

        Args:
            grid: of the vehicle's frame now, -1 for unknown.
            x, y, yaw: place (m) and heading (rad) of the vehicle in the odometry's frame.
        """
        self._follow(np.round(np.array([x, y]) / self._layout.resolution).astype(np.int64))
        places = self._places(x, y, yaw)
        percent = grid.reshape(-1)
        known = np.flatnonzero(percent != UNKNOWN)
        known = known[np.argsort(percent[known], kind="stable")]
        share = np.clip(percent[known] / 100.0, 0.01, 0.99)
        odds = np.clip(np.log(share / (1 - share)), -_MOST_OF_A_FRAME, _MOST_OF_A_FRAME)
        memory, seen = self._odds.reshape(-1), self._known.reshape(-1)
        # Two cells of the vehicle may fall into one here: the last one counts, the more occupied.
        memory[places[known]] = np.clip(memory[places[known]] + odds, -_MOST, _MOST)
        seen[places[known]] = True
        occupied = 100 / (1 + np.exp(-memory[places]))
        joined = np.where(seen[places], np.round(occupied), UNKNOWN)
        return joined.astype(np.int8).reshape(grid.shape)

    def _places(self, x: float, y: float, yaw: float) -> np.ndarray:
        """The cell of the memory in which the middle of each cell of the grid lies, flattened."""
        cos, sin = math.cos(yaw), math.sin(yaw)
        turned = np.array([[cos, -sin], [sin, cos]]) @ self._centres + [[x], [y]]
        # A standing vehicle often has the middles of cells, or their edges, on whole numbers of
        # cells: rounded to even, or by what floats leave of them, two would fall into one.
        cells = np.floor(turned / self._layout.resolution + 1e-6).astype(np.int64)
        columns, rows = cells - self._middle[:, None] + self._half
        return rows * self._odds.shape[1] + columns

    def _follow(self, middle: np.ndarray) -> None:
        """Move the square to the vehicle; what leaves it is forgotten."""
        size, way = len(self._odds), (middle - self._middle)[::-1].tolist()
        stays = tuple(slice(max(0, cells), max(0, size + cells)) for cells in way)
        comes = tuple(slice(max(0, -cells), max(0, size - cells)) for cells in way)
        for cells in (self._odds, self._known):
            moved = np.zeros_like(cells)
            moved[comes] = cells[stays]
            cells[...] = moved
        self._middle = middle
