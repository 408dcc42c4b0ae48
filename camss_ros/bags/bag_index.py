"""Which messages of a bag belong together: the stamps of its topics, and labels for images."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from camss_ros.bags.bag import Bag, BagError, BagMessage, Topic


def read_stamps(
    bag: Bag,
    topics: Sequence[str | Topic],
    start: int | None = None,
    stop: int | None = None,
    on_message: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """int64 stamps, in ns, of the messages of each topic by its name, as the bag yields them.

    `start` <= log time < `stop`, ns. Reads the bag once without decoding pixels. Damage ends up in
    `bag.warnings`; the bag then yields what is listed here, no more.
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
    """For each image the number of its label, or -1: int64 [images].

    `images`, `labels`: int64 stamps in any order; `tolerance`: ns, 0 for equal stamps only. A label
    belongs to the image nearest to it, and of several an image gets the nearest: no label is used
    twice. The earlier one wins where two are as near.
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
    # The first of images of one stamp.
    nearest = np.searchsorted(ordered, ordered[np.where(to_left <= to_right, left, right)])
    distance = np.minimum(to_left, to_right)
    for label in np.argsort(distance, kind="stable"):
        if distance[label] > tolerance:
            break
        image = order[nearest[label]]
        if matched[image] < 0:
            matched[image] = label
    return matched


class MessageCursor:
    """Gets messages of one topic by number, quickly in ascending order, holding one at a time."""

    def __init__(self, bag: Bag, topic: str | Topic, start: int | None, stop: int | None) -> None:
        self._open = lambda: bag.messages([topic], start, stop)
        self._messages: Iterator[BagMessage] = self._open()
        self._next = 0
        self._last: BagMessage | None = None

    def get(self, number: int) -> BagMessage:
        """The message of that number, from 0. Raises BagError where there is none."""
        if number < self._next - 1:
            self._messages, self._next = self._open(), 0
        while self._next <= number:
            self._last = next(self._messages, None)
            if self._last is None:
                raise BagError(f"message {number} is gone since the bag was first read")
            self._next += 1
        assert self._last is not None
        return self._last
