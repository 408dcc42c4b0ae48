"""Pitch and roll of a camera from a drive: where the edges of the road meet.

Parallel lines on the ground meet on the horizon. In the plane at depth 1, x right and y down, the
horizon of a camera that looks down by the pitch p and leans right by the roll r is the line
x sin r + y cos r = -tan p (Hartley, Zisserman: Multiple View Geometry, 2004, section 8.6). The two
edges of the road in a frame meet in a point of it; points of several headings give both angles.
Where they do not, or one edge is hidden, the edges of all frames give the pitch. The height has no
part in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camss_ros.projection.camera_model import CameraModel

_LEAST_ROWS = 25  # of an edge that is believed
_LEAST_SHARE = 0.4  # of its places that lie on a line
_RESIDUAL = 1.5  # pixels that a place may lie beside the line
_PAIRS = 200  # of places through which a line is tried
_LEAST_SLOPE = 0.3  # of an edge; a steeper line in the image is the side of something
_LEAST_FRAMES = 3
_ROUNDS = 5  # of fitting again without what lies far off
_RESAMPLES = 200
_ROLL_IS_SURE = math.radians(1.0)
_SEED = 19


@dataclass(frozen=True)
class MountEstimate:
    """Angles in rad with their standard errors.

    Attributes:
        pitch, pitch_error: downwards.
        roll, roll_error: to the right; None and infinity where the headings do not tell it, and
            the pitch is that of a camera without roll.
        frames: number of frames that it is from.
        seen: what is seen in these frames.
    """

    pitch: float
    pitch_error: float
    roll: float | None
    roll_error: float
    frames: int
    seen: str = "straight edges of the road"


def road_edges(
    labels: np.ndarray, camera: CameraModel, drivable: Sequence[int]
) -> list[tuple[float, float]]:
    """The straight ones of the left and right edge of the road in a frame, as (slope, offset) of
    the line x = slope y + offset at depth 1.

    An edge is the outermost place of road in each row, unless that is the edge of the image.

    Args:
        labels: uint8 [H, W].
        camera: of that size.
        drivable: class ids.
    """
    road = np.isin(labels, drivable)
    edges = []
    for side in (1, -1):
        seen = road[:, ::side]
        rows = np.flatnonzero(seen.any(axis=1) & ~seen[:, 0])
        columns = seen[rows].argmax(axis=1)
        columns = columns if side > 0 else labels.shape[1] - 1 - columns
        # It lies between the outermost pixel of road and the one beside that.
        x, y = (camera.rays[:, rows, columns] + camera.rays[:, rows, columns - side]) / 2
        edge = _fit_edge(x, y, camera)
        # The left edge leads to the left as it comes nearer, the right one to the right.
        if edge is not None and edge[0] * side < -_LEAST_SLOPE:
            edges.append(edge)
    return edges


def _fit_edge(x: np.ndarray, y: np.ndarray, camera: CameraModel) -> tuple[float, float] | None:
    """(slope, offset) of the line x = slope y + offset at depth 1 on which most places [N] of an
    edge lie; None if they are few, or too small a part of it (RANSAC)."""
    seen = ~np.isnan(x)
    x, y = x[seen], y[seen]
    if len(x) < _LEAST_ROWS:
        return None
    first, second = np.random.default_rng(_SEED).integers(0, len(x), (2, _PAIRS))
    apart = np.abs(y[first] - y[second]) > np.ptp(y) / 4
    first, second = first[apart], second[apart]
    slopes = (x[first] - x[second]) / (y[first] - y[second])
    offsets = x[first] - slopes * y[first]
    limit = _RESIDUAL * camera.pixel_angle
    on_line = np.abs(x - slopes[:, None] * y - offsets[:, None]) <= limit
    best = on_line[on_line.sum(axis=1).argmax()]
    if best.sum() < max(_LEAST_ROWS, _LEAST_SHARE * len(x)):
        return None
    slope, offset = np.polyfit(y[best], x[best], 1)
    return float(slope), float(offset)


def estimate_mount(frames: Sequence[Sequence[tuple[float, float]]]) -> MountEstimate:
    """Pitch and roll from the edges of the road in each frame (`road_edges`).

    Errors are those of a bootstrap over the frames.

    Raises:
        ValueError: there are too few.
    """
    used = [list(edges) for edges in frames if edges]
    if len(used) < _LEAST_FRAMES:
        raise ValueError(
            f"a straight edge of the road was found in {len(used)} frames: expected "
            f"{_LEAST_FRAMES} or more; record a drive on a straight road with its edges in view"
        )
    rng = np.random.default_rng(_SEED)
    draws = [rng.integers(0, len(used), len(used)) for _ in range(_RESAMPLES)]
    points = [_meeting_point(edges) for edges in used if len(edges) == 2]
    if len(points) >= _LEAST_FRAMES:
        seen = np.array(points)
        resampled = [seen[draw % len(seen)][: len(seen)] for draw in draws]
        with_roll = np.array([_fit_horizon(each) for each in resampled])
        roll_error = float(np.std(with_roll[:, 1]))
        if roll_error <= _ROLL_IS_SURE:
            pitch, roll = _fit_horizon(seen)
            return MountEstimate(
                pitch, float(np.std(with_roll[:, 0])), roll, roll_error, len(points)
            )
    level = [_fit_pitch([used[i] for i in draw]) for draw in draws]
    return MountEstimate(_fit_pitch(used), float(np.std(level)), None, math.inf, len(used))


def _meeting_point(edges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    (slope, offset), (other_slope, other_offset) = edges
    y = (other_offset - offset) / (slope - other_slope)
    return slope * y + offset, y


def _fit_pitch(frames: Sequence[Sequence[tuple[float, float]]]) -> float:
    """The pitch of a camera without roll. Every edge passes through a point of the horizon,
    x = slope y + offset, and x is the heading of the road: about the same in all frames."""
    slopes, offsets = np.array([edge for edges in frames for edge in edges]).T
    slope, _ = _fit_line(slopes, offsets)
    return math.atan(slope)  # offset = x - slope y, and y = -tan(pitch)


def _fit_horizon(points: np.ndarray) -> tuple[float, float]:
    """Pitch and roll of the line through points [N, 2]."""
    slope, offset = _fit_line(*points.T)
    roll = -math.atan(slope)
    return -math.atan(offset * math.cos(roll)), roll


def _fit_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(slope, offset) of y = slope x + offset, with little weight for what lies far off."""
    if np.ptp(x) < 1e-6:  # a draw of one frame, again and again
        return 0.0, float(np.median(y))
    weight, slope, offset = np.ones(len(x)), 0.0, 0.0
    for _ in range(_ROUNDS):
        slope, offset = np.polyfit(x, y, 1, w=weight)
        missed = np.abs(y - slope * x - offset)
        scale = max(1e-6, 2 * float(np.median(missed)))
        weight = 1 / np.maximum(1.0, missed / scale)
    return float(slope), float(offset)
