"""One camera of the segmenter: its topics, and what becomes of its images."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.images.encodings import ImageRejectedError, check_image_message
from camss_ros.images.label_mapping import LabelMapping
from camss_ros.nodes.messages import nanoseconds
from camss_ros.nodes.qos import PROFILES, SubscriptionEventCallbacks
from camss_ros.nodes.segmenter.diagnostics import (
    COUNTED,
    Counted,
    FrameCounter,
    FrameCounts,
    diagnostic_status,
)
from camss_ros.nodes.segmenter.frame import Arrival, SegmentedFrame
from camss_ros.nodes.segmenter.health import ERROR, Observation, Window, assess, latency
from camss_ros.nodes.segmenter.outputs import Outputs
from camss_ros.nodes.segmenter.parameters import NodeParameters
from camss_ros.nodes.segmenter.silence import explain_mismatch, explain_silence

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import FrameRequest

_DRIFT_WINDOW, _LEAST_DRIFT = 10, 5  # images that tell of drift, at most and at least
_RATE_IMAGES, _RATE_REPORTS = 5, 10  # over how many a rate is taken, and how long at most
_INFOS = 30  # calibrations that are kept for the images in work: a second of a camera


class CameraChannel:
    """Subscriptions, publishers, counts and reports of one camera.

    Topics are below `<name>/`, without a name below the node's namespace. Callbacks run in the
    executor; `submit(camera, arrival)` is given each image that may be segmented, and
    `warn(kind, text)` what the log should say now and then.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        parameters: NodeParameters,
        status_type: type,
        submit: Callable[[CameraChannel, Arrival], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._node, self._parameters, self._submit, self._warn = node, parameters, submit, warn
        self._status_type = status_type
        self.name = name
        self._log = node.get_logger()
        self._prefix = f"{name}/" if name else ""
        self._named = f"{name}: " if name else ""
        self.infos: tuple[CameraInfo, ...] = ()  # the newest last
        self._reported_remedies: set[str] = set()
        self.counter = FrameCounter()
        self.latencies = Window()  # s
        # of one image a second at most; see `inference/drift.py`
        self.drift = {name: Window(_DRIFT_WINDOW) for name in ("token_distance", "unsure_share")}
        self.outputs: Outputs | None = None
        self._subscriptions: list[Any] = []
        self._status = status_type()
        self._status_lock = threading.Lock()
        self._reported: deque[tuple[float, FrameCounts]] = deque(maxlen=_RATE_REPORTS)
        self._silent = self._mismatched = self._mismatch_reported = False
        self.reset_reports()

    def warn(self, kind: str, text: str) -> None:
        """Log with the name of the camera; at most once in a while for each kind."""
        self._warn(f"{self.name} {kind}", self._named + text)

    # --- Topics ---------------------------------------------------------------------------------

    def configure(self) -> None:
        """Create the publishers."""
        self.outputs = Outputs(
            self._node, self._parameters, self._status_type, self.warn, self._prefix
        )
        self._status = self._status_type(camera=self.name)

    def release(self) -> None:
        """Destroy the publishers, and forget the calibration."""
        if self.outputs is not None:
            self.outputs.destroy()
            self.outputs = None
        self.infos = ()

    def subscribe(self) -> str:
        """Listen to images and calibration from now on. Returns the topic of the images."""
        qos = PROFILES[self._parameters["image_qos"]]
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_mismatch)
        subscribe = self._node.create_subscription
        compressed = self._parameters["image_transport"] == "compressed"
        kind, topic = (CompressedImage, "image/compressed") if compressed else (Image, "image")
        for inputs in (
            (kind, self._prefix + topic, self._on_image),
            (CameraInfo, f"{self._prefix}camera_info", self._on_camera_info),
        ):  # one by one: where the second cannot be made, `unsubscribe` finds the first
            self._subscriptions.append(subscribe(*inputs, qos, event_callbacks=events))
        self.reset_reports()
        return str(self._subscriptions[0].topic_name)

    def unsubscribe(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.counter.count("received")
        self._last_image = time.monotonic()
        try:
            if isinstance(message, Image):
                # Checked before its turn: a bad image must not overtake a good one.
                check_image_message(message)
        except ImageRejectedError as error:
            self.reject(error)
            return
        self._submit(self, Arrival(message, time.monotonic()))

    def _on_camera_info(self, message: CameraInfo) -> None:
        self.infos = (*self.infos[1 - _INFOS :], message)

    def _info_of(self, header: Header) -> CameraInfo | None:
        """The calibration with the stamp of an image, else the newest: while an image is in work
        the camera may have zoomed, or changed its size."""
        infos = self.infos[::-1]
        newest = infos[0] if infos else None
        return next((info for info in infos if info.header.stamp == header.stamp), newest)

    def _on_mismatch(self, _: Any) -> None:
        self._mismatched = True
        self._tell_mismatch()

    def _tell_mismatch(self) -> None:
        """Log once which publisher does not match, as soon as the ROS graph knows its name: the
        event may come before."""
        if not self._mismatched or self._mismatch_reported:
            return
        for subscription in self._subscriptions:
            if text := explain_mismatch(self._node, subscription):
                self._mismatch_reported = True
                self._log.warning(self._named + text)
                return

    # --- What becomes of an image ---------------------------------------------------------------

    def reject(self, error: ImageRejectedError) -> None:
        """Count an image that cannot be read."""
        self.counter.rejected(error.reason)
        self.warn(error.reason, f"image rejected: {error.text(self._reported_remedies)}")

    def fail(self, reason: str) -> None:
        """Count an image on which the network failed."""
        self.counter.count("failed")
        self.warn("failed", f"segmentation failed: {reason}")

    def request(self, image: np.ndarray, header: Header) -> FrameRequest:
        """See `CameraInterface`."""
        from camss_ros.inference.segmenter import FrameRequest  # imports torch

        assert self.outputs is not None
        stamp = header.stamp
        stamped = stamp.sec or stamp.nanosec
        return FrameRequest(
            image,
            self.outputs.output_size((image.shape[0], image.shape[1])),
            # Not computed unless somebody listens.
            uncertainty=self.outputs.is_heard("uncertainty"),
            stamp=stamp.sec + 1e-9 * stamp.nanosec if stamped else None,
            stream=self.name,
        )

    def publish(self, segmented: SegmentedFrame, mapping: LabelMapping) -> np.ndarray:
        """See `CameraInterface`."""
        assert self.outputs is not None
        frame = segmented.frame
        height, width = frame.request.image.shape[:2]
        header = frame.arrival.header
        return self.outputs.publish(
            mapping, segmented.result, header, self._info_of(header), (height, width)
        )

    def latency(self, arrival: Arrival) -> float:
        """See `CameraInterface`."""
        now = self._node.get_clock().now().nanoseconds
        return latency(now, nanoseconds(arrival.header.stamp), arrival.time)

    def publish_report(
        self,
        segmented: SegmentedFrame,
        labels: np.ndarray,
        mapping: LabelMapping,
        status: Mapping[str, Any],
    ) -> None:
        """See `CameraInterface`: the status and the pictures."""
        assert self.outputs is not None
        frame, header = segmented.frame, segmented.frame.arrival.header
        self.latencies.add(status["latency"])
        for name, window in self.drift.items():
            if name in status:
                window.add(status[name])
        self.publish_status(header=header, **status)
        self.outputs.publish_pictures(frame.request.image, labels, mapping, header)

    # --- Reports --------------------------------------------------------------------------------

    def update_status(self, **news: Any) -> None:
        """Set fields of SegmenterStatus, to be published with the next one; any thread."""
        with self._status_lock:
            for name, value in news.items():
                setattr(self._status, name, value)

    def publish_status(self, **news: Any) -> None:
        """Publish the counts and what is new; any thread."""
        counts = self.counter.snapshot()
        self.update_status(**news)
        with self._status_lock:
            status = self._status
            for name in COUNTED:
                setattr(status, name, getattr(counts, name))
            status.rejected = counts.rejected.total()
            if self.outputs is not None:
                self.outputs.publish_status(status)

    def reset_reports(self) -> None:
        """Begin the period of the next report now."""
        self._last_image = time.monotonic()
        self._reported.clear()
        self._reported.append((self._last_image, self.counter.snapshot()))
        self._silent = self._mismatched = self._mismatch_reported = False
        self.latencies.clear()
        self.forget_drift()

    def forget_drift(self) -> None:
        """What was told of images before says nothing of the next: another model, another place."""
        for window in self.drift.values():
            window.clear()

    def report(
        self, state: str, values: dict[str, object], shared: dict[str, Any] | None, failure: str
    ) -> DiagnosticStatus:
        """What happened since the last report, as it is published.

        Args:
            values: of the node, beside the camera's own.
            shared: fields of `Observation` that are the same for every camera, or None while no
                images are expected.
            failure: as of `Reports.publish`.
        """
        counts, now = self.counter.snapshot(), time.monotonic()
        self._tell_mismatch()
        observed = self._observe(counts, now)
        found: list[tuple[int, str]] = [(ERROR, failure)] if failure else []
        if shared is not None:
            reason = self._reason_of(observed.silence)
            observed = replace(observed, silence_reason=reason, **shared)
            found = assess(observed, self._parameters)
        all_values = {**self._values(observed), **values}
        status = diagnostic_status(
            self._node.get_fully_qualified_name(), state, counts, found, all_values, self.name
        )
        self._reported.append((now, counts))
        return status

    def _observe(self, counts: FrameCounts, now: float) -> Observation:
        _, previous = self._reported[-1]
        medians: dict[str, Any] = {
            name: window.percentile(50, _LEAST_DRIFT) for name, window in self.drift.items()
        }
        return Observation(
            received=counts.received - previous.received,
            input_rate=self._rate("received", counts, now),
            output_rate=self._rate("segmented", counts, now),
            unusable=counts.unusable - previous.unusable,
            latency=self.latencies.percentile(95),
            silence=now - self._last_image,
            **medians,
        )

    def _rate(self, what: Counted, counts: FrameCounts, now: float) -> float:
        """Images a second since the last report, or since an earlier one while there are too few:
        below 1 Hz a single second has one or none."""
        rate = 0.0
        for since, previous in reversed(self._reported):
            images = getattr(counts, what) - getattr(previous, what)
            rate = images / max(now - since, 1e-3)
            if images >= _RATE_IMAGES:
                break
        return rate

    def _reason_of(self, silence: float) -> str:
        """Why no image has come for so many s, where that is too long; logged at first, and so is
        its end."""
        reason = ""
        limits = [self._parameters[name] for name in ("warn_no_image", "error_no_image")]
        if silence >= min(filter(None, limits), default=math.inf):
            reason = explain_silence(self._node, self._subscriptions[0])
            node = self._node
            if node.get_parameter("use_sim_time").value and not node.count_publishers("/clock"):
                reason += "; use_sim_time is set and nobody publishes /clock"
            if not self._silent:
                self._log.warning(f"{self._named}no image for {silence:.1f} s: {reason}")
            self._silent = True
        elif self._silent:
            self._log.info(f"{self._named}images arrive again")
            self._silent = False
        return reason

    def _values(self, observed: Observation) -> dict[str, object]:
        values: dict[str, object] = {
            "input rate (Hz)": f"{observed.input_rate:.2f}",
            "output rate (Hz)": f"{observed.output_rate:.2f}",
            "latency p50 (s)": f"{self.latencies.percentile(50):.4f}",
            "latency p95 (s)": f"{observed.latency:.4f}",
            "time without an image (s)": f"{observed.silence:.1f}",
            **{
                f"drift: {name.replace('_', ' ')}": f"{value:.2f}"
                for name in self.drift
                if not math.isnan(value := getattr(observed, name))
            },
        }
        if self._subscriptions:
            # a subscription of Humble cannot count its own
            topic = self._subscriptions[0].topic_name
            values["image publishers"] = self._node.count_publishers(topic)
        return values
