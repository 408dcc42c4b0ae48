"""Play an input through the segmenter over DDS and record what comes back.

`video_publisher` and `segmenter` run as processes of their own in a ROS domain of their own; this
process listens: the names of the frames that were sent, the label images, the segmenter's status.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from camss_ros.bags.recording import ReceivedMask, Recording, SentFrame
from camss_ros.nodes.harness.child_process import ChildProcess, isolate
from camss_ros.nodes.harness.segmenter_listener import (
    DeferredSignals,
    SegmenterListener,
    nanoseconds,
    pixels_of,
    sampling_of,
)
from camss_ros.nodes.qos import LATCHED_HISTORY
from camss_ros.nodes.segmenter.diagnostics import MEASURING

# Loading a large model from a slow disk takes a while.
_START_TIME = 300.0  # s
_ANSWER_TIME = 2.0  # s


def record_demo(
    path: str,
    *,
    rate: float,
    frames: int,
    segmenter: Mapping[str, str | int | float | bool | Sequence[int]],
    logs: Path,
    on_progress: Callable[[Recording], None] = lambda recording: None,
) -> Recording:
    """Send `frames` frames (0: all) of `path` at `rate` Hz (0: its own) and collect the masks.

    `segmenter`: parameters of the segmenter node. `logs`: an existing folder for the output of the
    processes. `on_progress` is called after each message.

    Raises ChildFailedError when a process fails or the segmenter does not get ready,
    MissingPackageError when the package's messages have not been built, OSError when the nodes
    can't be isolated, KeyboardInterrupt and SystemExit after SIGINT and SIGTERM. Main thread only.
    """
    environment = isolate()
    # The profile is for those that send large images.
    os.environ.update({k: v for k, v in environment.items() if k.startswith("ROS_")})
    with (
        DeferredSignals() as signals,
        _Listener(signals) as listener,
        ChildProcess(
            "camss_ros.nodes.segmenter.node", segmenter, environment, logs / "segmenter.log"
        ) as segmenter_process,
    ):
        wait_until_active(listener, segmenter_process)
        parameters: dict[str, str | int | float | bool]
        parameters = {"path": path, "rate": rate, "frames": frames, "wait_for_subscriber": True}
        with ChildProcess(
            "camss_ros.nodes.harness.video_publisher",
            parameters,
            environment,
            logs / "video_publisher.log",
        ) as publisher:
            ended: float | None = None
            recording = listener.recording
            while not listener.settled(ended, len(recording.masks), recording.counts.segmented):
                listener.spin()
                on_progress(recording)
                publisher.check()
                segmenter_process.check()
                if not segmenter_process.running:
                    raise segmenter_process.failure("ended by itself")
                if ended is None and not publisher.running:
                    ended = time.monotonic()
    return listener.recording


def wait_until_active(listener: SegmenterListener, segmenter: ChildProcess) -> None:
    """Wait until the segmenter takes images, by the backend that it will keep.

    Raises ChildFailedError where it ends, can't be activated or does not get ready.
    """
    measuring: list[str] = []

    def on_diagnostics(message: DiagnosticArray) -> None:
        measuring.extend(
            value.value for status in message.status for value in status.values
            if value.key == MEASURING
        )  # fmt: skip

    deadline = time.monotonic() + _START_TIME
    _wait_for_activation(listener, segmenter, deadline)
    subscription = listener.node.create_subscription(
        DiagnosticArray, "/diagnostics", on_diagnostics, 10
    )
    while time.monotonic() < deadline:
        listener.spin()
        _check(segmenter)
        if measuring and measuring[-1] == str(False):
            listener.node.destroy_subscription(subscription)
            return
    raise segmenter.failure(f"did not get ready within {_START_TIME:.0f} s")


def _check(segmenter: ChildProcess) -> None:
    segmenter.check()
    if not segmenter.running:
        raise segmenter.failure("ended by itself")


def _wait_for_activation(
    listener: SegmenterListener, segmenter: ChildProcess, deadline: float
) -> None:
    client: Any = listener.node.create_client(GetState, "segmenter/get_state")
    while time.monotonic() < deadline:
        future = client.call_async(GetState.Request())
        # An answer gets lost where the two don't know each other yet.
        asked = time.monotonic()
        while not future.done() and time.monotonic() < asked + _ANSWER_TIME:
            listener.spin()
            _check(segmenter)
        if not future.done():
            client.remove_pending_request(future)
            continue
        state = future.result().current_state
        if state.id == State.PRIMARY_STATE_ACTIVE:
            return
        # It answers only after it has tried to activate itself.
        raise segmenter.failure(f"did not get ready (it is {state.label})")
    raise segmenter.failure(f"did not get ready within {_START_TIME:.0f} s")


class _Listener(SegmenterListener):
    """The demo's own node: records the topics of the other two."""

    def __init__(self, signals: DeferredSignals) -> None:
        super().__init__("demo", signals)
        self.recording = Recording()
        self.node.create_subscription(
            Header, "source_frame", self._on_source_frame, LATCHED_HISTORY
        )

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def on_mask(self, message: Image) -> None:
        arrival = self.node.get_clock().now().nanoseconds
        mask = ReceivedMask(pixels_of(message), arrival)
        self.recording.masks[nanoseconds(message.header.stamp)] = mask

    def on_timings(self, stamp: int, seconds: dict[str, float]) -> None:
        self.recording.timings[stamp] = seconds

    def on_status(self, message: Any) -> None:
        recording = self.recording
        recording.model, recording.device = message.model, message.device
        recording.sampling = sampling_of(message)
        recording.counts = self.counts

    def _on_source_frame(self, message: Header) -> None:
        self.recording.sent.append(SentFrame(nanoseconds(message.stamp), message.frame_id))
