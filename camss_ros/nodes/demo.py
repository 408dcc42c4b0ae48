"""Play an input through the segmenter over DDS and record what comes back.

`video_publisher` and `segmenter` run as processes of their own in a ROS domain of their own; this
process listens: the names of the frames that were sent, the label images, the segmenter's status.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from camss_ros.data.recording import Counts, ReceivedMask, Recording, SentFrame
from camss_ros.nodes.child_process import ChildProcess
from camss_ros.nodes.deferred_signals import DeferredSignals
from camss_ros.nodes.demo_environment import isolate

# Loading a large model from a slow disk takes a while.
_START_TIME = 300.0  # s
_ANSWER_TIME = 2.0  # s
# From the publisher's end to the last mask.
_DRAIN_TIME = 60.0  # s
_STAGES = (
    "preprocess",
    "tokens",
    "transformer",
    "sampling",
    "decode",
    "network",
    "postprocess",
    "total",
)

_RELIABLE = QoSProfile(depth=1000)
_LATCHED = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class DemoError(RuntimeError):
    """The demo can't be run; the message says why."""


def record_demo(
    path: str,
    *,
    rate: float,
    frames: int,
    segmenter: Mapping[str, str | int | float | bool],
    logs: Path,
    on_progress: Callable[[Recording], None] = lambda recording: None,
) -> Recording:
    """Send `frames` frames (0: all) of `path` at `rate` Hz (0: its own) and collect the masks.

    `segmenter`: parameters of the segmenter node. `logs`: an existing folder for the output of the
    processes. `on_progress` is called after each message.

    Raises ChildFailedError when a process fails or the segmenter does not get ready, DemoError
    when the package's messages have not been built, OSError when the nodes can't be isolated,
    KeyboardInterrupt and SystemExit after SIGINT and SIGTERM. Main thread only.
    """
    environment = isolate()
    # The profile is for those that send large images.
    os.environ.update({k: v for k, v in environment.items() if k.startswith("ROS_")})
    with (
        DeferredSignals() as signals,
        _Listener(signals) as listener,
        ChildProcess(
            "camss_ros.nodes.segmenter_node", segmenter, environment, logs / "segmenter.log"
        ) as segmenter_process,
    ):
        listener.wait_until_active(segmenter_process)
        parameters: dict[str, str | int | float | bool]
        parameters = {"path": path, "rate": rate, "frames": frames, "wait_for_subscriber": True}
        with ChildProcess(
            "camss_ros.nodes.video_publisher", parameters, environment, logs / "video_publisher.log"
        ) as publisher:
            ended: float | None = None
            while not listener.settled(ended):
                listener.spin()
                on_progress(listener.recording)
                publisher.check()
                segmenter_process.check()
                if not segmenter_process.running:
                    raise segmenter_process.failure("ended by itself")
                if ended is None and not publisher.running:
                    ended = time.monotonic()
    return listener.recording


class _Listener:
    """The demo's own node: records the topics of the other two."""

    def __init__(self, signals: DeferredSignals) -> None:
        try:
            from camss_ros.msg import SegmenterStatus
        except ImportError as error:
            raise DemoError(
                f"the messages of camss_ros are not there ({error}): run `make build`, or `colcon "
                "build` on a ROS installation, and use its environment (scripts/in_workspace, or "
                "source install/setup.bash)"
            ) from error
        self.recording = Recording()
        self._signals = signals
        self._last_status = 0.0
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node: Node = rclpy.create_node("demo", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        subscribe = self._node.create_subscription
        subscribe(Header, "source_frame", self._on_source_frame, _LATCHED)
        subscribe(Image, "segmentation/mask", self._on_mask, _RELIABLE)
        subscribe(SegmenterStatus, "segmentation/status", self._on_status, _LATCHED)

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def spin(self) -> None:
        """Handle one message, or wait a little for one. Raises what a signal asks for."""
        self._signals.check()
        self._executor.spin_once(timeout_sec=0.1)

    def wait_until_active(self, segmenter: ChildProcess) -> None:
        """Wait until the segmenter takes images. Raises where it ends or can't be activated."""
        client: Any = self._node.create_client(GetState, "segmenter/get_state")
        deadline = time.monotonic() + _START_TIME
        while time.monotonic() < deadline:
            future = client.call_async(GetState.Request())
            # An answer gets lost where the two don't know each other yet.
            asked = time.monotonic()
            while not future.done() and time.monotonic() < asked + _ANSWER_TIME:
                self.spin()
                segmenter.check()
                if not segmenter.running:
                    raise segmenter.failure("ended by itself")
            if not future.done():
                client.remove_pending_request(future)
                continue
            state = future.result().current_state
            if state.id == State.PRIMARY_STATE_ACTIVE:
                return
            # It answers only after it has tried to activate itself.
            raise segmenter.failure(f"did not get ready (it is {state.label})")
        raise segmenter.failure(f"did not get ready within {_START_TIME:.0f} s")

    def settled(self, publisher_ended: float | None) -> bool:
        """Whether every frame that was sent has met its fate."""
        if publisher_ended is None:
            return False
        now, counts = time.monotonic(), self.recording.counts
        # Only a status from after the end counts every image; it comes once a second.
        is_final = self._last_status > publisher_ended + 0.5
        arrived = len(self.recording.masks) >= counts.segmented
        done = is_final and arrived and counts.in_work == 0
        return done or now > publisher_ended + _DRAIN_TIME

    def _on_source_frame(self, message: Header) -> None:
        self.recording.sent.append(SentFrame(_nanoseconds(message.stamp), message.frame_id))

    def _on_mask(self, message: Image) -> None:
        arrival = self._node.get_clock().now().nanoseconds
        labels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        mask = ReceivedMask(labels[:, : message.width].copy(), arrival)
        self.recording.masks[_nanoseconds(message.header.stamp)] = mask

    def _on_status(self, message: Any) -> None:
        self._last_status = time.monotonic()
        recording = self.recording
        recording.model, recording.device = message.model, message.device
        recording.sampling = {
            "steps": message.steps,
            "sampler": message.sampler,
            "samples": message.samples,
        }
        recording.counts = Counts(
            received=message.received,
            segmented=message.segmented,
            dropped=message.dropped,
            rejected=message.rejected,
            failed=message.failed,
        )
        stamp = _nanoseconds(message.header.stamp)
        if stamp:  # zero before the first frame
            recording.timings[stamp] = {stage: getattr(message, stage) for stage in _STAGES}


def _nanoseconds(stamp: Time) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)
