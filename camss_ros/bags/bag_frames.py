"""The frames of a bag that are to be evaluated: images, and the labels that go with them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camss_ros.bags.bag import Bag, BagError, BagMessage, Topic
from camss_ros.bags.bag_types import IMAGE
from camss_ros.images.encodings import (
    ImageRejectedError,
    compressed_to_labels,
    compressed_to_rgb,
    image_to_labels,
    image_to_rgb,
)

DEFAULT_FPS = 10.0
_LISTED = 20


@dataclass(frozen=True)
class BagSelection:
    """What of a bag is taken.

    Attributes:
        image: topic of sensor_msgs Image or CompressedImage.
        labels: topic of label images, or None. 8 bit, one channel: class ids.
        tolerance: by how many seconds the stamps of a label and of its image may differ.
        every: take every n-th image.
        start: seconds after the bag's first message.
        duration: seconds from there on; None: to the end.

    Raises:
        ValueError: a value out of range, which it names.
    """

    image: str
    labels: str | None = None
    tolerance: float = 0.0
    every: int = 1
    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}: expected 1 or more")
        for name in ("tolerance", "start", "duration"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1e9:
                raise ValueError(f"{name} is {value} seconds: expected 0 to 1e9")

    def span(self, bag: Bag) -> tuple[int | None, int | None]:
        """Log times in ns: from, and up to but without; None where the bag's own ends count."""
        first = bag.start_time + round(self.start * 1e9) if self.start else None
        if self.duration is None:
            return first, None
        return first, (bag.start_time if first is None else first) + round(self.duration * 1e9)


@dataclass(frozen=True)
class BagFrame:
    """An image of the bag with its label.

    Attributes:
        number: of the message on its topic, within the span.
        image: uint8 [H, W, 3] RGB.
        name: number and stamp; unique.
        stamp: of the header, ns.
        label: uint8 [H, W] class ids with 255 for void, or None.
        label_stamp: of its header, ns, or None.
    """

    number: int
    image: np.ndarray
    name: str
    stamp: int
    label: np.ndarray | None
    label_stamp: int | None


class Faults:
    """Messages that were passed over: counted by topic and reason, the first ones in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.listed: list[str] = []
        self._reported: set[str] = set()

    def add(self, topic: str, number: int, stamp: int, error: ValueError) -> None:
        """Note a message.

        Args:
            number: of the message on its topic, within the span.
            stamp: ns.
            error: why it was passed over; one that has a `reason`, a few words, is counted by it.
        """
        reason = getattr(error, "reason", "message")
        text = error.text(self._reported) if isinstance(error, ImageRejectedError) else str(error)
        self.counts[f"{topic}: {reason}"] += 1
        if len(self.listed) < _LISTED:
            self.listed.append(f"{topic}, message {number}, stamp {stamp_text(stamp)}: {text}")


class BagFrames:
    """The selected frames of an open bag. Making one reads the bag's stamps.

    Args:
        label_values: int16 [256], the class id for each value of a label image, 255 for void, -1
            for values that are none.
        partners: topics of which `partner` is asked.
        on_message: called after each message whose stamp was read.

    Attributes:
        expected: how many frames will come, at most.
        fps: of the selected frames, from their stamps, Hz.
        faults: of the iteration that ran last.

    Raises:
        BagError: a topic is missing or of another type; lists those that are there.
    """

    def __init__(
        self,
        bag: Bag,
        selection: BagSelection,
        label_values: np.ndarray,
        on_message: Callable[[], None] = lambda: None,
        partners: Sequence[Topic] = (),
    ) -> None:
        self.bag, self.selection, self._label_values = bag, selection, label_values
        self.faults = Faults()
        self._image_topic = bag.require(selection.image)
        label_topic = bag.require(selection.labels) if selection.labels else None
        self._span = selection.span(bag)
        topics = [self._image_topic, *([label_topic] if label_topic else []), *partners]
        self._stamps = read_stamps(bag, topics, *self._span, on_message)
        self._images = self._stamps[selection.image]
        self._labels = self.partner(label_topic) if label_topic else None
        taken = self._images[:: selection.every]
        self.expected = len(taken)
        periods = np.diff(np.sort(taken))
        periods = periods[periods > 0]
        self.fps = DEFAULT_FPS
        if len(periods):
            self.fps = float(np.clip(1e9 / np.median(periods), 0.1, 240.0))

    @property
    def labelled(self) -> bool:
        """Whether any image of the span has a label."""
        return self._labels is not None and self._labels.matched > 0

    @property
    def labels_without_image(self) -> int:
        """Labels with no image within the tolerance."""
        return 0 if self._labels is None else len(self._labels.stamps) - self._labels.matched

    def partner(self, topic: Topic) -> PartnerMessages:
        """The messages of one of the `partners` that go with the images."""
        cursor = MessageCursor(self.bag, topic, *self._span)
        tolerance = round(self.selection.tolerance * 1e9)
        return PartnerMessages(topic, cursor, self._stamps[topic.name], self._images, tolerance)

    def name(self, number: int) -> str:
        """The name of the frame of an image message."""
        return f"{number:06d}_{stamp_text(int(self._images[number]))}"

    def __iter__(self) -> Iterator[BagFrame]:
        """Undecodable images are passed over, and undecodable labels left out; see `faults`."""
        self.faults = Faults()
        for number, stamp, message in self.messages():
            try:
                image = decode_image(self.bag, message)
            except (BagError, ImageRejectedError) as error:
                self.faults.add(message.topic, number, stamp, error)
                continue
            label = label_stamp = None
            if self._labels is not None and (found := self._labels.number(number)) is not None:
                label_stamp = int(self._labels.stamps[found])
                label = self._label(self._labels, found, label_stamp, image)
            yield BagFrame(
                number, image, self.name(number), stamp, label,
                None if label is None else label_stamp,
            )  # fmt: skip

    def messages(self) -> Iterator[tuple[int, int, BagMessage]]:
        """Number within the span, stamp in ns and message of every selected image.

        Raises:
            BagError: the bag ends before what it held when its stamps were read.
        """
        messages = MessageCursor(self.bag, self._image_topic, *self._span)
        for number in range(0, len(self._images), self.selection.every):
            yield number, int(self._images[number]), messages.get(number)

    def _label(
        self, labels: PartnerMessages, number: int, stamp: int, image: np.ndarray
    ) -> np.ndarray | None:
        try:
            values = decode_labels(self.bag, labels.messages.get(number))
            if values.shape != image.shape[:2]:
                (height, width), (image_height, image_width) = values.shape, image.shape[:2]
                raise ImageRejectedError(
                    "size",
                    f"the label is {width} x {height}, its image {image_width} x {image_height}",
                )
            ids = self._label_values[values]
            if (ids < 0).any():
                strange = ", ".join(map(str, np.unique(values[ids < 0])[:10].tolist()))
                raise ImageRejectedError(
                    "values", f"the values {strange} are no classes of the label set, nor its void"
                )
        except (BagError, ImageRejectedError) as error:
            self.faults.add(labels.topic.name, number, stamp, error)
            return None
        return ids.astype(np.uint8)


def decode_image(bag: Bag, message: BagMessage) -> np.ndarray:
    """uint8 [H, W, 3] RGB of a message.

    Raises:
        BagError: its bytes are no such message.
        ImageRejectedError: they are no usable image.
    """
    content: Any = bag.decode(message)
    image = image_to_rgb(content) if message.type == IMAGE else compressed_to_rgb(content)
    return np.require(image, requirements="W")  # a view of the message can't be written to


def decode_labels(bag: Bag, message: BagMessage) -> np.ndarray:
    """uint8 [H, W] of a message, the values as they are.

    Raises:
        BagError: its bytes are no such message.
        ImageRejectedError: they are no usable image.
    """
    content: Any = bag.decode(message)
    return image_to_labels(content) if message.type == IMAGE else compressed_to_labels(content)


def stamp_text(stamp: int) -> str:
    """Seconds and nanoseconds, 1700000000.012345678, of a stamp in ns."""
    seconds, nanoseconds = divmod(stamp, 10**9)
    return f"{seconds}.{nanoseconds:09d}"


def read_stamps(
    bag: Bag,
    topics: Sequence[str | Topic],
    start: int | None = None,
    stop: int | None = None,
    on_message: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """The stamps of the messages of each topic, as the bag yields them.

    Reads the bag once without decoding pixels. Damage ends up in `bag.warnings`; the bag then
    yields what is listed here, no more.

    Args:
        topics: of messages with a header.
        start, stop: `start` <= log time < `stop`, ns.
        on_message: called after each.

    Returns:
        int64 [messages] of each topic by its name, ns.
    """
    while True:
        stamps = {t if isinstance(t, str) else t.name: array("q") for t in topics}
        try:
            for message in bag.messages(topics, start, stop):
                stamps[message.topic].append(bag.stamp(message))
                on_message()
        except BagError as error:
            if bag.recover():
                continue
            bag.warnings.append(str(error))
        return {topic: np.array(values, np.int64) for topic, values in stamps.items()}


def match_stamps(images: np.ndarray, labels: np.ndarray, tolerance: int) -> np.ndarray:
    """Which label belongs to each image.

    A label belongs to the image nearest to it, and of several an image gets the nearest: no label
    is used twice. The earlier one wins where two are as near; images of one stamp, as of a log
    played round and round, take theirs in turn.

    Args:
        images, labels: int64 [N] and [M] stamps, ns, in any order.
        tolerance: ns; 0 for equal stamps only.

    Returns:
        int64 [N], the number of its label for each image, or -1.
    """
    matched = np.full(len(images), -1, np.int64)
    if not len(images) or not len(labels):
        return matched
    order = np.argsort(images, kind="stable")
    ordered = images[order]
    right = np.clip(np.searchsorted(ordered, labels), 1, max(1, len(ordered) - 1))
    right = np.minimum(right, len(ordered) - 1)
    left = np.maximum(right - 1, 0)
    to_left, to_right = np.abs(labels - ordered[left]), np.abs(labels - ordered[right])
    # The first of images of one stamp; `taken`: of these.
    taken: Counter[int] = Counter()
    nearest = np.searchsorted(ordered, ordered[np.where(to_left <= to_right, left, right)])
    distance = np.minimum(to_left, to_right)
    for label in np.argsort(distance, kind="stable"):
        if distance[label] > tolerance:
            break
        first = int(nearest[label])
        place = first + taken[first]
        if place < len(ordered) and ordered[place] == ordered[first]:
            matched[order[place]] = label
            taken[first] += 1
    return matched


class PartnerMessages:
    """The messages of a topic, and to which image of a span each belongs (`match_stamps`).

    `messages`: by their number; `stamps`: int64, theirs in ns; `images`: int64, of the images;
    `tolerance` in ns. `matched`: how many belong to an image.
    """

    def __init__(
        self,
        topic: Topic,
        messages: MessageCursor,
        stamps: np.ndarray,
        images: np.ndarray,
        tolerance: int,
    ) -> None:
        self.topic, self.messages, self.stamps = topic, messages, stamps
        self._images = images
        self._of_image = match_stamps(images, stamps, tolerance)
        self.matched = int((self._of_image >= 0).sum())

    def number(self, image: int) -> int | None:
        """The number of the message that belongs to the image of a number."""
        found = int(self._of_image[image])
        return None if found < 0 else found

    def why_none(self) -> str:
        """Why none belongs to an image."""
        if not len(self.stamps) or not len(self._images):
            return f"{len(self.stamps)} messages for {len(self._images)} images in that span"
        images = np.sort(self._images)
        after = np.searchsorted(images, self.stamps).clip(max=len(images) - 1)
        near = np.stack([images[after], images[np.maximum(after - 1, 0)]])
        gap = np.abs(near - self.stamps).min() / 1e9
        return f"none has the stamp of an image; the nearest is {gap:.3f} s away (--tolerance)"


class MessageCursor:
    """Gets messages of one topic by number, quickly in ascending order, holding one at a time."""

    def __init__(self, bag: Bag, topic: Topic, start: int | None, stop: int | None) -> None:
        self._name = topic.name
        self._open = lambda: bag.messages([topic], start, stop)
        self._messages: Iterator[BagMessage] = self._open()
        self._next = 0
        self._last: BagMessage | None = None

    def get(self, number: int) -> BagMessage:
        """The message of that number, from 0.

        Raises:
            BagError: there is none any more.
        """
        if number < self._next - 1:
            self._messages, self._next = self._open(), 0
        while self._next <= number:
            self._last = next(self._messages, None)
            if self._last is None:
                raise BagError(
                    f"message {number} of {self._name} is gone since the bag was first read"
                )
            self._next += 1
        assert self._last is not None
        return self._last
