"""Play an input through the segmenter over DDS and record what comes back.

`video_publisher` and `segmenter` run as processes of their own in a ROS domain of their own; this
process listens: the names of the frames that were sent, the label images, the segmenter's status.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from camss_ros.bags.recording import ReceivedMask, Recording, SentFrame
from camss_ros.images.encodings import image_to_labels
from camss_ros.nodes.harness.child_process import VIDEO_PUBLISHER, ChildProcess, Parameters, isolate
from camss_ros.nodes.harness.segmenter_listener import (
    SegmenterListener,
    sampling_of,
)
from camss_ros.nodes.messages import nanoseconds
from camss_ros.nodes.qos import LATCHED_HISTORY
from camss_ros.nodes.segmenter.diagnostics import MEASURING
from camss_ros.termination import DeferredSignals

# Loading a large model from a slow disk takes a while.
_START_TIME = 300.0  # s


def record_demo(
    path: str,
    *,
    rate: float,
    frames: int,
    segmenter: Parameters,
    logs: Path,
    on_progress: Callable[[Recording], None] = lambda recording: None,
) -> Recording:
    """Send frames of an input and collect the masks. Main thread only.

    Args:
        path: video or image folder.
        rate: Hz; 0: the input's own.
        frames: sent at most; 0: all.
        segmenter: parameters of the segmenter node.
        logs: an existing folder for the output of the processes.
        on_progress: called after each message.

    Raises:
        ChildFailedError: a process fails, or the segmenter does not get ready.
        MissingPackageError: the package's messages have not been built.
        OSError: the nodes can't be isolated.
        KeyboardInterrupt, SystemExit: after SIGINT, SIGTERM and SIGHUP.
    """
    environment = isolate()
    # The profile is for those that send large images.
    os.environ.update({k: v for k, v in environment.items() if k.startswith("ROS_")})
    with (
        DeferredSignals() as signals,
        closing(_Listener(signals)) as listener,
        ChildProcess(
            "camss_ros.run_segmenter", segmenter, environment, logs / "segmenter.log"
        ) as segmenter_process,
    ):
        wait_until_active(listener, segmenter_process)
        camera: Parameters
        camera = {"path": path, "rate": rate, "frames": frames, "wait_for_subscriber": True}
        log = logs / "video_publisher.log"
        with ChildProcess(VIDEO_PUBLISHER, camera, environment, log) as publisher:
            ended: float | None = None
            recording = listener.recording
            while not listener.settled(ended, len(recording.masks), recording.counts.segmented):
                listener.spin()
                on_progress(recording)
                publisher.check()
                segmenter_process.check_running()
                if ended is None and not publisher.running:
                    ended = time.monotonic()
    return listener.recording


def wait_until_active(listener: SegmenterListener, segmenter: ChildProcess) -> None:
    """Wait until the segmenter takes images, by the backend that it will keep.

    Raises:
        ChildFailedError: it ends, can't be activated or does not get ready.
    """
    reported: dict[str, str] = {}  # of the latest diagnostics

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            reported.update({value.key: value.value for value in status.values})

    subscription = listener.node.create_subscription(
        DiagnosticArray, "/diagnostics", on_diagnostics, 10
    )
    deadline = time.monotonic() + _START_TIME
    while time.monotonic() < deadline:
        listener.spin()
        segmenter.check_running()
        # The first diagnostics come after it has tried to activate itself.
        if (state := reported.get("state", "active")) != "active":
            raise segmenter.failure(f"did not get ready (it is {state})")
        if reported.get(MEASURING) == str(False):
            listener.node.destroy_subscription(subscription)
            return
    raise segmenter.failure(f"did not get ready within {_START_TIME:.0f} s")


class _Listener(SegmenterListener):
    """The demo's own node: records the topics of the other two."""

    def __init__(self, signals: DeferredSignals) -> None:
        super().__init__("demo", signals)
        self.recording = Recording()
        self.node.create_subscription(
            Header, "source_frame", self._on_source_frame, LATCHED_HISTORY
        )

    def on_mask(self, message: Image) -> None:
        arrival = self.node.get_clock().now().nanoseconds
        mask = ReceivedMask(image_to_labels(message), arrival)
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
