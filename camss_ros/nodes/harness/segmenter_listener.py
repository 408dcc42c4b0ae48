"""A node beside the segmenter that takes its masks and its status off the topics, and stops between
two messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from camss_ros.bags.recording import Counts
from camss_ros.errors import CamssError
from camss_ros.extras import require_node
from camss_ros.nodes.messages import nanoseconds
from camss_ros.nodes.qos import LATCHED_HISTORY
from camss_ros.nodes.segmenter.frame_processor import STAGES
from camss_ros.nodes.start_up import START_ERRORS, start_problem
from camss_ros.termination import DeferredSignals

# From the last image to the last mask.
_DRAIN_TIME = 60.0  # s

RELIABLE = QoSProfile(depth=1000)


class WrongArgumentsError(CamssError):
    """A namespace, a remapping or another ROS argument that is none."""


class SegmenterListener:
    """Subscribes `segmentation/mask` and `segmentation/status`; a subclass says what becomes of
    them. Has a context of its own; signals are served between two messages.

    Args:
        arguments: for the node, such as ["--ros-args", "-r", "image:=/camera/image_raw"].

    Attributes:
        counts: what the segmenter counted by its last status; they go on where it begins again
            from zero, activated or started once more.

    Raises:
        MissingPackageError: the package's messages have not been built.
        WrongArgumentsError: a namespace or arguments that ROS does not take.
    """

    def __init__(
        self,
        name: str,
        signals: DeferredSignals,
        namespace: str = "/",
        arguments: Sequence[str] = (),
    ) -> None:
        require_node()
        from camss_ros.msg import SegmenterStatus

        self.counts = self._latest = Counts()
        self.status: Any = None
        self._last_status = 0.0
        self._signals = signals
        self._context = Context()
        try:
            # Not the command line: ROS would take its FROM:=TO for remappings.
            rclpy.init(
                args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO
            )
            self.node: Node = rclpy.create_node(
                name, context=self._context, namespace=namespace, cli_args=list(arguments)
            )
        except START_ERRORS as error:
            self._context.try_shutdown()
            raise WrongArgumentsError(start_problem(error)) from error
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        subscribe = self.node.create_subscription
        self.masks = subscribe(Image, "segmentation/mask", self.on_mask, RELIABLE)
        subscribe(SegmenterStatus, "segmentation/status", self._on_status, LATCHED_HISTORY)

    def on_mask(self, message: Image) -> None:
        """A label image came."""

    def on_timings(self, stamp: int, seconds: dict[str, float]) -> None:
        """The segmenter reported how long each stage of the frame of that stamp, in ns, took."""

    def on_status(self, message: Any) -> None:
        """A status came, which `counts` has already."""

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def spin(self, timeout: float = 0.1) -> None:
        """Handle one message, or wait up to `timeout` seconds for one.

        Raises:
            KeyboardInterrupt, SystemExit: after SIGINT, SIGTERM and SIGHUP.
        """
        self._signals.check()
        self._executor.spin_once(timeout_sec=timeout)

    def settled(self, ended: float | None, masks: int, segmented: int) -> bool:
        """Whether every image that was sent has met its fate.

        Args:
            ended: monotonic time of the last image, s; None before.
            masks: that arrived.
            segmented: images that the segmenter says it published a mask for.
        """
        if ended is None:
            return False
        # Only a status from after the end counts every image; it comes once a second.
        is_final = self._last_status > ended + 0.5
        done = is_final and masks >= segmented and self._latest.in_work == 0
        return done or time.monotonic() > ended + _DRAIN_TIME

    def _on_status(self, message: Any) -> None:
        self._last_status = time.monotonic()
        self.status = message
        latest = Counts(**{each.name: getattr(message, each.name) for each in fields(Counts)})
        before = Counts() if latest.received < self._latest.received else self._latest
        self.counts -= before - latest  # there is no sum of counts
        self._latest = latest
        stamp = nanoseconds(message.header.stamp)
        if stamp:  # zero before the first frame
            seconds = {stage: getattr(message, stage) for stage in (*STAGES, "total")}
            # Zero: the backend does not tell this stage apart.
            self.on_timings(stamp, {stage: value for stage, value in seconds.items() if value})
        self.on_status(message)


def sampling_of(status: Any) -> dict[str, int | str]:
    """What a status says about the sampling."""
    return {"steps": status.steps, "sampler": status.sampler, "samples": status.samples}
