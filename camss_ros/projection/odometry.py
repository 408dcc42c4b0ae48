"""Where the vehicle was at the stamp of a frame."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque

from camss_ros.projection.errors import ProjectionRejectedError

JUMP = 5 * 10**9
"""ns back at which the time has begun again: a bag that is played once more."""

_KEPT = 1000
_GAP = 500_000_000  # ns to the nearest place on record that is still believed


class OdometryTrack:
    """Places of the vehicle on a plane, by time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps: deque[int] = deque(maxlen=_KEPT)
        self._places: deque[tuple[float, float, float]] = deque(maxlen=_KEPT)

    def add(self, stamp: int, x: float, y: float, yaw: float) -> bool:
        """Add a place.

        Args:
            stamp: ns.
            x, y: m.
            yaw: rad.

        Returns:
            False where the time has begun again, and the track with it. A place that comes late is
            left out.

        Raises:
            ProjectionRejectedError: a number is not finite.
        """
        if not all(math.isfinite(value) for value in (x, y, yaw)):
            raise ProjectionRejectedError("odometry", f"the place {x}, {y}, {yaw} is not finite")
        with self._lock:
            newest = self._stamps[-1] if self._stamps else stamp - 1
            goes_on = stamp >= newest - JUMP
            if not goes_on:
                self._stamps.clear()
                self._places.clear()
            elif stamp <= newest:
                return True
            self._stamps.append(stamp)
            self._places.append((x, y, yaw))
            return goes_on

    def at(self, stamp: int) -> tuple[float, float, float]:
        """x, y, yaw at a time (ns): between two places on record, or the nearest one.

        Raises:
            ProjectionRejectedError: none is within half a second.
        """
        with self._lock:
            after = bisect_left(self._stamps, stamp)
            near = [
                (self._stamps[i], self._places[i])
                for i in (after - 1, after)
                if 0 <= i < len(self._stamps)
            ]
        gap = min((abs(known - stamp) for known, _ in near), default=None)
        if gap is None or gap > _GAP:
            known = "none has come" if gap is None else f"the nearest is {gap / 1e9:.2f} s away"
            raise ProjectionRejectedError("odometry", f"no odometry at the mask's stamp: {known}")
        if len(near) == 1:
            return near[0][1]
        (before, (x0, y0, yaw0)), (later, (x1, y1, yaw1)) = near
        share = (stamp - before) / (later - before)
        turn = math.remainder(yaw1 - yaw0, 2 * math.pi)
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0), yaw0 + share * turn


def yaw_of(x: float, y: float, z: float, w: float) -> float:
    """Heading (rad) of a quaternion."""
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
