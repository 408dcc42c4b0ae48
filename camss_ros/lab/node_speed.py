"""How fast the node is, from the stamp of an image to its mask: the measuring, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from camss_ros.evaluation.statistics import mean_rate, milliseconds
from camss_ros.lab.rate_search import RateTrial, find_highest_rate

ENCODING = "rgb8"  # of the images that are sent
SIZES = ((360, 480), (1080, 1920))  # (height, width) that speed is stated for


Parameters = Mapping[str, str | int | float | bool | Sequence[int]]  # of a ROS node


@dataclass(frozen=True)
class LatencySample:
    """One image on its way, in seconds.

    Attributes:
        arrival: from its stamp to the mask's arrival at a subscriber.
        publication: from its stamp to the moment after the mask was published.
        in_node: from its arrival at the node to that moment.
        segmenter: `Segmenter.segment`, preprocessing and postprocessing included.
        convert: from the message to an RGB image.
        publish: from the labels to the published messages.
        steps, samples: of its sampling.
        network_size: (height, width) of the network's input.
    """

    arrival: float
    publication: float
    in_node: float
    segmenter: float
    convert: float
    publish: float
    steps: int
    samples: int
    network_size: tuple[int, int]


@dataclass(frozen=True)
class SentImages:
    """Result of sending images at a steady rate.

    Attributes:
        stamps: of all that were sent, ns.
        masks: number that came back.
        latencies: by stamp, of those that came back with a status.
        labels: uint8 [H, W] of every mask and the name of its picture, where they were to be kept.
    """

    stamps: tuple[int, ...]
    masks: int
    latencies: Mapping[int, LatencySample]
    labels: Sequence[tuple[str, np.ndarray]] = ()

    @property
    def rate(self) -> float:
        """Images sent a second."""
        return mean_rate(self.stamps) or 0.0

    @property
    def drops(self) -> float:
        """Share of the sent images without a mask, wherever they got lost."""
        return 1 - self.masks / max(1, len(self.stamps))


Send = Callable[[float, int], SentImages]  # at a rate in Hz, so many images


@dataclass(frozen=True)
class NodeSettings:
    """How long and within what to measure.

    Attributes:
        lowest, highest: rates between which the highest one is searched, Hz.
        seconds: of a trial of the search.
        long_seconds: of the confirming trial and of a measurement of latency.
        latency_rates: at which latency is measured, Hz.
    """

    lowest: float = 1.0
    highest: float = 240.0
    seconds: float = 5.0
    long_seconds: float = 15.0
    latency_rates: Sequence[float] = (10.0, 30.0)


def measure_node(
    send: Send,
    settings: NodeSettings = NodeSettings(),
    on_trial: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The highest rate with under 5 % drops, then latency at fixed rates, as JSON values.

    Latency at a rate that the node does not keep up with is that of the images that it took.

    Args:
        send: sends images, and waits for what comes back.
        on_trial: called after each trial and each measurement of latency.
    """

    def send_for(rate: float, seconds: float) -> SentImages:
        sent = send(rate, max(2, round(rate * seconds)))
        on_trial()
        return sent

    def try_rate(rate: float, confirm: bool) -> RateTrial:
        sent = send_for(rate, settings.long_seconds if confirm else settings.seconds)
        return RateTrial(rate, sent.rate, sent.drops)

    found = find_highest_rate(try_rate, settings.lowest, settings.highest)
    return {
        "encoding": ENCODING,
        "settings": {**asdict(settings), "latency_rates": list(settings.latency_rates)},
        "highest_rate": {
            "hz": found.trial and found.trial.sent,
            "drops": found.trial and found.trial.drops,
            "limited_by": found.limited_by,
            "trials": [asdict(trial) for trial in found.trials],
        },
        "latency": {
            f"{rate:g} Hz": latency_report(send_for(rate, settings.long_seconds))
            for rate in settings.latency_rates
        },
    }


def latency_report(sent: SentImages) -> dict[str, Any]:
    """JSON values of one run; times are null where no image passed.

    `outside_segmenter_ms` is what the way from stamp to subscriber takes beside the segmenter:
    `convert` and `publish` in the node, and sending, transport, waiting and receiving, which are
    `rest`.
    """
    latencies = list(sent.latencies.values())

    def times(value: Callable[[LatencySample], float]) -> dict[str, float] | None:
        return milliseconds([value(each) for each in latencies]) if latencies else None

    return {
        "sent_hz": sent.rate,
        "images": len(sent.stamps),
        "drops": sent.drops,
        "stamp_to_mask_ms": times(lambda p: p.arrival),
        "stamp_to_publication_ms": times(lambda p: p.publication),
        "arrival_to_publication_ms": times(lambda p: p.in_node),
        "segmenter_ms": times(lambda p: p.segmenter),
        "convert_ms": times(lambda p: p.convert),
        "publish_ms": times(lambda p: p.publish),
        "convert_and_publish_ms": times(lambda p: p.convert + p.publish),
        "rest_ms": times(lambda p: p.arrival - p.segmenter - p.convert - p.publish),
        "outside_segmenter_ms": times(lambda p: p.arrival - p.segmenter),
    }
