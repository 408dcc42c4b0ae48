"""Plays the images of a bag over DDS into a running segmenter, and takes its masks off the topics.

Topics, relative to the segmenter's namespace: out `image` or `image/compressed`, and /clock where
asked for; in `segmentation/mask`, `segmentation/confidence` and `segmentation/status`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Time
from rcl_interfaces.srv import GetParameters
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.bags.bag import Bag, BagError, BagMessage
from camss_ros.bags.bag_frames import BagFrames
from camss_ros.bags.bag_types import IMAGE, fits_header
from camss_ros.bags.recording import Counts
from camss_ros.errors import CamssError
from camss_ros.images.encodings import image_to_labels
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import load_label_set
from camss_ros.nodes.endpoints import node_of
from camss_ros.nodes.harness.segmenter_listener import (
    RELIABLE,
    SegmenterListener,
    sampling_of,
)
from camss_ros.nodes.messages import nanoseconds, to_array
from camss_ros.nodes.segmenter.model_reloader import published_label_set
from camss_ros.termination import DeferredSignals

_WAIT = 30.0  # s for the segmenter to be found
# Each side learns of the other at its own time, and what is sent in between is lost.
_MATCHING_S = 0.5
_ANSWER = 5.0  # s for the segmenter to tell its parameters
_CLOCK_PERIOD = 0.01  # s between two messages on /clock
# Reliable is taken by best-effort subscribers too.
_IMAGE_QOS = QoSProfile(depth=10)


class NoSegmenterError(CamssError):
    """Nobody takes the images, or nobody publishes masks, or more than one does."""


class OtherClassesError(CamssError):
    """The masks of the segmenter are in other classes than they would be read in."""


class Recorder(Protocol):
    """Gets what was sent and what came back; times are monotonic, in ns."""

    masks: int

    def begin(self) -> None:
        """The segmenter is there, and images will be sent."""

    def knows(self, stamp: int) -> bool:
        """Whether an image of that stamp, in ns, is under way."""

    def on_sent(self, number: int, stamp: int, now: int) -> None:
        """Image message `number` was published."""

    def on_mask(self, stamp: int, labels: np.ndarray, now: int) -> None:
        """A mask came, uint8 [H, W] class ids."""

    def on_confidence(self, stamp: int, confidence: np.ndarray) -> None:
        """The confidence of a mask came, uint8 [H, W], probability times 255."""

    def on_timings(self, stamp: int, seconds: dict[str, float]) -> None:
        """The segmenter's times of a frame came, by stage."""


class Played:
    """What is known after a replay.

    Attributes:
        counts: the segmenter's, over the replay.
        skipped: images that were not sent, by reason.
        rate: at which the bag's time went by, on average, times that of the recording.
        model, device, backend, sampling: as the segmenter said of its last frame.
        network_size: (height, width) of its image in the network, pixels.
    """

    def __init__(self, counts: Counts, skipped: list[str], rate: float, status: Any) -> None:
        self.counts, self.skipped, self.rate = counts, skipped, rate
        self.model, self.device, self.backend = status.model, status.device, status.backend
        self.sampling = sampling_of(status)
        self.network_size = status.network_height, status.network_width


def play_bag(
    frames: BagFrames,
    kind: str,
    recorder: Recorder,
    *,
    model: str,
    classes: Sequence[LabelClass],
    rate: float = 1.0,
    clock: bool = False,
    namespace: str = "/",
    remaps: Sequence[str] = (),
    on_frame: Callable[[], None] = lambda: None,
) -> Played:
    """Send the images at `rate` times the pace of their log times and wait for the last mask.

    Header stamps are the bag's, the log time where a header has none. Main thread only.

    Args:
        kind: message type of the image topic.
        model: name of the model that the segmenter should run.
        classes: of its masks.
        clock: publish the bag's time on /clock.
        namespace: of the segmenter.
        remaps: FROM:=TO of its topics.
        on_frame: called after each image that was sent.

    Raises:
        NoSegmenterError: none is active, or more than one.
        OtherClassesError: it runs another model, or publishes another label set.
        MissingPackageError: the package's messages have not been built.
        WrongArgumentsError: a namespace or remapping that ROS does not take.
        BagError: the bag ends before its time, or not one image can be sent.
        KeyboardInterrupt, SystemExit: after SIGINT, SIGTERM and SIGHUP.
    """
    arguments = ["--ros-args", *(part for remap in remaps for part in ("-r", remap))]
    with (
        DeferredSignals() as signals,
        closing(_Player(signals, recorder, kind, clock, namespace, arguments)) as player,
    ):
        player.wait_for_segmenter()
        player.check_alone()
        player.check_classes(model, classes)
        recorder.begin()
        return player.play(frames, rate, on_frame)


class _Player(SegmenterListener):
    def __init__(
        self,
        signals: DeferredSignals,
        recorder: Recorder,
        kind: str,
        clock: bool,
        namespace: str,
        arguments: Sequence[str],
    ) -> None:
        self._recorder = recorder
        super().__init__("bag_player", signals, namespace, arguments)
        self._raw = kind == IMAGE
        message, topic = (Image, "image") if self._raw else (CompressedImage, "image/compressed")
        self._images = self.node.create_publisher(message, topic, _IMAGE_QOS)
        self._confidence = self.node.create_subscription(
            Image, "segmentation/confidence", self._on_confidence, RELIABLE
        )
        self._clock = self.node.create_publisher(Clock, "/clock", 10) if clock else None

    def wait_for_segmenter(self) -> None:
        deadline = time.monotonic() + _WAIT
        missing: list[str] = []
        while time.monotonic() < deadline:
            self.spin()
            if not (missing := list(self._missing())):
                self._spin_until(time.monotonic() + _MATCHING_S)
                return
        raise NoSegmenterError(
            f"no active segmenter was found within {_WAIT:.0f} s: {', '.join(missing)}. Start it "
            "in the same ROS_DOMAIN_ID, with image_transport as in the bag and mask_format mono8, "
            "and give its --namespace or --remap image:=TOPIC"
        )

    def _missing(self) -> Iterator[str]:
        """What there is not of an active segmenter."""
        if not self._images.get_subscription_count():
            yield f"nobody subscribes to {self._images.topic_name}"
        for subscription in (self.masks, self._confidence):
            if not self.node.count_publishers(subscription.topic_name):
                yield f"nobody publishes {subscription.topic_name}"
        if self.status is None:
            yield "no status came"

    def check_alone(self) -> None:
        publishers = self.node.get_publishers_info_by_topic(self.masks.topic_name)
        if len(publishers) > 1:  # every image would have two masks
            names = ", ".join(map(node_of, publishers))
            raise NoSegmenterError(
                f"{len(publishers)} nodes publish {self.masks.topic_name} ({names}): end all but "
                "one (one that was killed is seen for another 20 s), or give each a namespace"
            )

    def check_classes(self, model: str, classes: Sequence[LabelClass]) -> None:
        if self.status.model != model:
            raise OtherClassesError(
                f"the segmenter runs the model '{self.status.model}', whose classes need not be "
                f"those of '{model}': name the model of the node by --model"
            )
        name = self._label_set()
        names = [each.name for each in classes]
        if name and [each.name for each in load_label_set(name).classes] != names:
            raise OtherClassesError(
                f"the segmenter publishes its masks in the label set '{name}', not in the classes "
                "of its model: start it with label_set '' and mask_format mono8"
            )

    def _label_set(self) -> str:
        """Name of the label set that the node publishes, empty for the model's own, or where the
        node does not tell."""
        (publisher, *_) = self.node.get_publishers_info_by_topic(self.masks.topic_name)
        service = f"{node_of(publisher)}/get_parameters"
        client: Any = self.node.create_client(GetParameters, service)
        deadline = time.monotonic() + _ANSWER
        while not client.service_is_ready() and time.monotonic() < deadline:
            self.spin()
        answer = client.call_async(GetParameters.Request(names=["label_set", "mask_format"]))
        while not answer.done() and time.monotonic() < deadline:
            self.spin()
        if not answer.done():
            return ""
        label_set, mask_format = (value.string_value for value in answer.result().values)
        return published_label_set(label_set, mask_format)

    def play(self, frames: BagFrames, rate: float, on_frame: Callable[[], None]) -> Played:
        before = self.counts
        skipped: list[str] = []
        first: int | None = None
        start = time.monotonic()
        last = 0
        for number, stamp, message in frames.messages():
            try:
                image = ros_message(frames.bag, message, stamp)
                if self._clock is not None:
                    _check_time(message.log_time)
            except BagError as error:
                skipped.append(f"{message.topic}, message {number}: {error}")
                continue
            if self._recorder.knows(stamp):
                skipped.append(
                    f"{message.topic}, message {number}: stamp {stamp} ns is there twice"
                )
                continue
            if first is None:
                first, start = message.log_time, time.monotonic()
            last = message.log_time
            due = start + (message.log_time - first) / 1e9 / rate
            self._spin_until(due, lambda now: first + round((now - start) * rate * 1e9))  # noqa: B023
            self._recorder.on_sent(number, stamp, time.monotonic_ns())
            self._images.publish(image)
            on_frame()
        if first is None:
            reasons = "".join(f"\n  {reason}" for reason in skipped[:3])
            raise BagError(f"'{frames.bag.path}': not one image can be sent{reasons}")
        ended = time.monotonic()
        while not self.settled(ended, self._recorder.masks, (self.counts - before).segmented):
            self.spin()
        span = (last - first) / 1e9
        return Played(self.counts - before, skipped, span / max(ended - start, 1e-9), self.status)

    def on_mask(self, message: Image) -> None:
        now, labels = time.monotonic_ns(), image_to_labels(message)
        self._recorder.on_mask(nanoseconds(message.header.stamp), labels, now)

    def on_timings(self, stamp: int, seconds: dict[str, float]) -> None:
        self._recorder.on_timings(stamp, seconds)

    def _on_confidence(self, message: Image) -> None:
        self._recorder.on_confidence(nanoseconds(message.header.stamp), image_to_labels(message))

    def _spin_until(self, due: float, bag_time: Callable[[float], int] | None = None) -> None:
        """Handle messages until the monotonic time `due`, and once at least."""
        while True:
            now = time.monotonic()
            if self._clock is not None and bag_time is not None:
                self._clock.publish(Clock(clock=_time(bag_time(min(now, due)))))
            self.spin(max(0.0, min(due - now, _CLOCK_PERIOD)))
            if time.monotonic() >= due:
                return


def ros_message(bag: Bag, message: BagMessage, stamp: int) -> Image | CompressedImage:
    """An image of the bag for rclpy.

    Args:
        stamp: for its header, ns.

    Raises:
        BagError: the message can't be decoded, or a ROS message can't hold the stamp.
    """
    _check_time(stamp)
    content = bag.decode(message)
    header = Header(stamp=_time(stamp), frame_id=content.header.frame_id)
    data = to_array(np.ascontiguousarray(content.data).data.cast("B"))
    if message.type == IMAGE:
        return Image(
            header=header, height=content.height, width=content.width, encoding=content.encoding,
            is_bigendian=content.is_bigendian, step=content.step, data=data,
        )  # fmt: skip
    return CompressedImage(header=header, format=content.format, data=data)


def _check_time(stamp: int) -> None:
    if not fits_header(stamp):
        raise BagError(f"times of ROS messages end in 2038, before {stamp} ns")


def _time(stamp: int) -> Time:
    seconds, rest = divmod(stamp, 10**9)
    return Time(sec=seconds, nanosec=rest)
