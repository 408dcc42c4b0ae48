"""Drivable ground from one label image: a grid of occupancy, and where the ground ends.

The ground is the plane z = 0 of the vehicle's frame (x forward, y left, z up: REP 103). It is
looked at along directions from the camera's place on it, in steps of a pixel's angle or half a
cell, so that what stands on the ground hides what is behind it along one direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.ground_classes import UNKNOWN, GroundClasses
from camss_ros.projection.transforms import apply

OCCUPIED = 50  # percent of occupancy from which a cell is not free
_DEPTH_OF_OBSTACLES = 0.5  # m behind its foot that an obstacle is known to take
_SMALLEST_ISLAND = 0.5  # m2 of free ground; less among what is not free is a mistake of the labels
_MOST_DIRECTIONS = 4096
_WIDEST_STEP = math.radians(0.4)  # about that of the rays of a scan
_LOWEST, _HIGHEST = 0.02, 100.0  # m, height of a camera above the ground


@dataclass(frozen=True)
class GridLayout:
    """Where the cells of a grid lie in the vehicle's frame, and how large they are (m)."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float
    resolution: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows along y, columns along x), as nav_msgs/OccupancyGrid orders cells."""
        return (
            max(1, round((self.y_max - self.y_min) / self.resolution)),
            max(1, round((self.x_max - self.x_min) / self.resolution)),
        )

    @property
    def radius(self) -> float:
        """m from the vehicle to the farthest corner."""
        x, y = max(abs(self.x_min), abs(self.x_max)), max(abs(self.y_min), abs(self.y_max))
        return math.hypot(x, y)

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 [rows, columns] x and y of the middles of the cells."""
        rows, columns = self.shape
        x = self.x_min + (np.arange(columns) + 0.5) * self.resolution
        y = self.y_min + (np.arange(rows) + 0.5) * self.resolution
        return tuple(np.meshgrid(x, y))  # type: ignore[return-value]


@dataclass(frozen=True)
class GroundView:
    """What one label image says about the ground.

    Attributes:
        grid: int8 [rows, columns], percent of occupancy, -1 for unknown.
        obstacles: float32 [N, 2], x and y of the places where the ground ends.
        obstacle_labels, obstacle_confidence: uint8 [N].
        free: float32 [M, 2], the last free place in each direction without an obstacle.
        camera: x and y of the camera.
        spread: rad between two directions, as the camera sees them.
    """

    grid: np.ndarray
    obstacles: np.ndarray
    obstacle_labels: np.ndarray
    obstacle_confidence: np.ndarray
    free: np.ndarray
    camera: tuple[float, float]
    spread: float


class GroundProjector:
    """Looks at the ground through one camera.

    Args:
        camera: of the size of the label images.
        vehicle_to_camera: float [4, 4], to the camera's optical frame.
        layout: the cells.
        classes: what can be driven on.
        ego: bool [H, W] of the camera's size, True where the own vehicle is seen; None: nowhere.

    Raises:
        ProjectionRejectedError: the camera is not above the ground, or sees none of the grid.
    """

    def __init__(
        self,
        camera: CameraModel,
        vehicle_to_camera: np.ndarray,
        layout: GridLayout,
        classes: GroundClasses,
        ego: np.ndarray | None = None,
    ) -> None:
        self.layout, self._classes = layout, classes
        camera_to_vehicle = np.linalg.inv(vehicle_to_camera)
        self._x, self._y, height = (float(value) for value in camera_to_vehicle[:3, 3])
        if not _LOWEST <= height <= _HIGHEST:
            raise ProjectionRejectedError(
                "mount",
                f"the camera is {height:.2f} m above the ground: expected {_LOWEST:g} to "
                f"{_HIGHEST:g} m (mount, or the transform to vehicle_frame)",
            )
        pixel = camera.pixel_angle
        cells_x, cells_y = layout.centres()
        # Directions are counted from where the camera looks, so that none wraps around.
        axis = camera_to_vehicle[:2, 2] if np.hypot(*camera_to_vehicle[:2, 2]) > 1e-3 else (1, 0)
        heading = math.atan2(axis[1], axis[0])
        distance = np.hypot(cells_x - self._x, cells_y - self._y)
        bearing = np.arctan2(cells_y - self._y, cells_x - self._x) - heading
        bearing = (bearing + math.pi) % (2 * math.pi) - math.pi
        slope = np.arctan2(height, distance)
        # What a pixel takes of the ground along its direction, which is its longer side.
        footprint = (distance**2 + height**2) / height * pixel
        trusted = (footprint <= layout.resolution).reshape(-1)
        points = np.stack([cells_x.ravel(), cells_y.ravel(), np.zeros(cells_x.size)])
        seen = np.zeros(cells_x.size, bool)
        seen[camera.pixels(apply(vehicle_to_camera, points))[0]] = True
        self._known = (seen & trusted).reshape(layout.shape)
        if not self._known.any():
            raise ProjectionRejectedError(
                "mount",
                "the camera sees no cell of the grid that its pixels can tell from the next: check "
                "mount, grid_area and grid_resolution",
            )
        low, high = (float(f(bearing[self._known])) for f in (np.min, np.max))
        near, far = (float(f(slope[self._known])) for f in (np.max, np.min))
        # As fine as the pixels, unless half a cell where it is farthest is coarser.
        farthest, half = float(distance[self._known].max()), layout.resolution / 2
        spread = max(pixel, min(half / farthest, _WIDEST_STEP), (high - low) / _MOST_DIRECTIONS)
        self._spread = spread
        step = max(pixel, half * height / (farthest**2 + height**2))
        bearings = low + np.arange(1 + math.ceil((high - low) / spread)) * spread
        slopes = near - np.arange(1 + math.ceil((near - far) / step)) * step
        slopes = np.clip(slopes, 1e-4, math.pi / 2 - 1e-6)
        self._distances = (height / np.tan(slopes)).astype(np.float32)
        cos, sin = np.cos(bearings + heading), np.sin(bearings + heading)
        self._ground = np.stack(
            [self._x + self._distances[:, None] * cos, self._y + self._distances[:, None] * sin]
        ).astype(np.float32)
        shape = self._ground.shape[1:]
        flat = np.concatenate([self._ground.reshape(2, -1), np.zeros((1, shape[0] * shape[1]))])
        found, pixels = camera.pixels(apply(vehicle_to_camera, flat))
        if ego is not None:
            hidden = ego.reshape(-1)[pixels]
            found, pixels = found[~hidden], pixels[~hidden]
        # The last pixel, which is added, is void.
        places = np.full(shape[0] * shape[1], camera.height * camera.width)
        places[found] = pixels
        self._pixels = places.reshape(shape)
        row = np.clip(np.rint((near - slope) / step), 0, shape[0] - 1).astype(np.int64)
        column = np.clip(np.rint((bearing - low) / spread), 0, shape[1] - 1).astype(np.int64)
        self._places = (row * shape[1] + column)[self._known]

    def look(self, labels: np.ndarray, confidence: np.ndarray) -> GroundView:
        """What a label image says; `labels`, `confidence`: uint8 [H, W] of the camera's size."""
        seen = np.append(labels.reshape(-1), np.uint8(VOID))[self._pixels]
        sure = np.append(confidence.reshape(-1), np.uint8(0))[self._pixels]
        occupancy = self._classes.occupancy.reshape(-1)[seen.astype(np.uint16) << 8 | sure]
        occupancy[self._hidden(seen)] = UNKNOWN
        grid = np.full(self.layout.shape, UNKNOWN, np.int8)
        grid[self._known] = occupancy.reshape(-1)[self._places]
        _remove_islands(grid, self.layout.resolution)
        ends = self._ends(seen, sure, occupancy)
        return GroundView(grid, *ends, (self._x, self._y), self._spread)

    def _hidden(self, seen: np.ndarray) -> np.ndarray:
        """bool, of the directions' shape: what lies behind the foot of something that stands."""
        standing = self._classes.standing[seen]
        feet = np.zeros(seen.shape, np.int32)
        feet[1:] = np.arange(1, len(seen), dtype=np.int32)[:, None] * ~(
            standing[1:] & standing[:-1]
        )
        np.maximum.accumulate(feet, axis=0, out=feet)
        behind = self._distances[:, None] - self._distances[feet]
        return standing & (behind > _DEPTH_OF_OBSTACLES)

    def _ends(
        self, seen: np.ndarray, sure: np.ndarray, occupancy: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where the ground ends in each direction, its labels and confidence; and the last free
        place of the directions in which it does not."""
        occupied = occupancy >= OCCUPIED
        ends = occupied.any(axis=0)
        rows, columns = occupied.argmax(axis=0)[ends], np.flatnonzero(ends)
        free = (occupancy >= 0) & ~ends
        open_columns = np.flatnonzero(free.any(axis=0))
        last = len(free) - 1 - free[::-1, open_columns].argmax(axis=0)
        # Between the last place that is not occupied and the first that is.
        edges = (self._ground[:, rows, columns] + self._ground[:, rows - (rows > 0), columns]) / 2
        return (
            edges.T,
            seen[rows, columns],
            sure[rows, columns],
            self._ground[:, last, open_columns].T,
        )


def _remove_islands(grid: np.ndarray, resolution: float) -> None:
    """Make small areas of free cells unknown, in place."""
    free = (grid >= 0) & (grid < OCCUPIED)
    # not by the default algorithm: OpenCV 4.5.5 crashes in it (opencv/opencv#21366)
    _, areas, measures, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        free.view(np.uint8), 4, cv2.CV_32S, cv2.CCL_WU
    )
    small = measures[:, cv2.CC_STAT_AREA] * resolution**2 < _SMALLEST_ISLAND
    small[0] = False  # what is not free
    grid[small[areas]] = UNKNOWN


def ranges(view: GroundView, count: int, increment: float) -> np.ndarray:
    """float32 [count]: the ground as a laser at the vehicle's origin would scan it.

    Ray i looks in the direction (i - (count - 1) / 2) * increment rad from x. Metres to the nearest
    end of the ground; infinity where the ground goes on, NaN where none is seen (REP 117).
    """
    found = np.full(count, np.nan, np.float32)
    rays, _ = _rays(view, view.free, count, increment)
    found[rays] = np.inf
    rays, distances = _rays(view, view.obstacles, count, increment)
    nearest = np.full(count, np.inf, np.float32)
    np.minimum.at(nearest, rays, distances)
    found[rays] = nearest[rays]
    return found


def _rays(
    view: GroundView, places: np.ndarray, count: int, increment: float
) -> tuple[np.ndarray, np.ndarray]:
    """The rays [K] that see any of the places [N, 2] of a view, and the distance of what each sees.

    A place reaches half way to those beside it. Where the camera is behind the laser, that is more
    than a ray.
    """
    distances = np.hypot(*places.T)
    widths = view.spread * np.hypot(*(places - view.camera).T) / np.maximum(distances, 1e-6)
    halves = np.minimum(widths, math.pi) / 2 / increment
    middles = np.arctan2(places[:, 1], places[:, 0]) / increment + (count - 1) / 2
    first = np.maximum(np.rint(middles - halves), 0).astype(np.int64)
    last = np.minimum(np.rint(middles + halves), count - 1).astype(np.int64)
    counts = np.maximum(last - first + 1, 0)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first, counts) + within, np.repeat(distances, counts)
