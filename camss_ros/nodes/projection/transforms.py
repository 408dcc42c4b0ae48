"""Where frames are to each other: by TF where tf2_ros is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time as Stamp
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.odometry import JUMP
from camss_ros.projection.transforms import transform


class Transforms:
    """Asks TF. Without tf2_ros (it has no wheel) nothing is known, and what asks is told so."""

    def __init__(self, node: Node) -> None:
        self._buffer: Any = None
        self._newest = -(2**63)
        try:
            import tf2_ros
        except ImportError:
            return
        self._error = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def destroy(self) -> None:
        """Stop listening to TF."""
        if self._buffer is not None:
            self._listener.unregister()

    def lookup(
        self,
        target: tuple[str, Stamp],
        source: tuple[str, Stamp],
        *,
        fixed_frame: str = "",
        timeout: float = 0.0,
    ) -> np.ndarray:
        """float64 [4, 4] that takes points of the source frame into the target frame.

        Without a fixed frame both are looked up at the stamp of the source. `timeout` in s; blocks
        meanwhile, so not in the executor that listens to TF.

        Raises:
            ProjectionRejectedError: TF is not installed, or does not know them at that time.
        """
        (target_frame, target_stamp), (source_frame, source_stamp) = target, source
        if self._buffer is None:
            raise ProjectionRejectedError(
                "transform",
                f"no way from {source_frame!r} to {target_frame!r}: tf2_ros is not installed; give "
                "mount or lidar_to_camera",
            )
        wait = Duration(nanoseconds=int(timeout * 1e9))
        try:
            source_time = Time.from_msg(source_stamp)
            if source_time.nanoseconds:  # of 0 TF takes its newest
                self._forget_a_later_time(source_time.nanoseconds)
            if fixed_frame:
                found = self._buffer.lookup_transform_full(
                    target_frame, Time.from_msg(target_stamp), source_frame, source_time,
                    fixed_frame, wait,
                )  # fmt: skip
            else:
                found = self._buffer.lookup_transform(target_frame, source_frame, source_time, wait)
        except (self._error, ValueError) as error:  # a stamp before 1970
            raise ProjectionRejectedError("transform", str(error)) from error
        place, turn = found.transform.translation, found.transform.rotation
        try:
            return transform((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))
        except ValueError as error:
            raise ProjectionRejectedError("transform", str(error)) from error

    def _forget_a_later_time(self, stamp: int) -> None:
        """Clear what moves from TF where the time (ns) has begun again.

        TF refuses what is more than 10 s older than its newest, and clears itself at a jump of the
        clock only: not in Humble, and not where the bag is played without --clock.
        """
        if stamp < self._newest - JUMP:
            self._buffer.clear()
            self._newest = stamp
        self._newest = max(self._newest, stamp)
