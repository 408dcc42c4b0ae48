"""A segmenter under test: both nodes as processes of their own, over DDS, at rates as asked.

`video_publisher` sends a folder of images round and round, from memory; `segmenter` takes them;
this process listens, in a ROS domain that nobody else is in.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from camss_ros.bags.recording import Counts
from camss_ros.images.encodings import image_to_labels
from camss_ros.inference.device import select_device
from camss_ros.lab.frames import write_street
from camss_ros.lab.machine import describe_machine, load_average
from camss_ros.lab.node_speed import (
    LatencySample,
    NodeSettings,
    Parameters,
    SentImages,
    measure_node,
)
from camss_ros.nodes.harness.child_process import ChildProcess, isolate, start_still_camera
from camss_ros.nodes.harness.demo import wait_until_active
from camss_ros.nodes.harness.segmenter_listener import (
    SegmenterListener,
    sampling_of,
)
from camss_ros.nodes.messages import nanoseconds
from camss_ros.nodes.qos import LATCHED_HISTORY
from camss_ros.termination import DeferredSignals

_PICTURES = 8


def measure_node_sizes(
    model: Path,
    parameters: Parameters,
    sizes: Sequence[tuple[int, int]],
    settings: NodeSettings = NodeSettings(),
    on_trial: Callable[[str, int], None] = lambda size, trials: None,
) -> dict[str, Any]:
    """Start the node and measure it with images of each size, as JSON values.

    Args:
        model: its directory.
        parameters: of the segmenter node; the model is the one above.
        sizes: (height, width) of the images.
        on_trial: called with the size and the number of trials done with it.

    Raises as `node_under_test`.
    """
    load = load_average()
    results = {}
    with TemporaryDirectory(prefix="camss_ros-") as name:
        folder = Path(name)
        for height, width in sizes:
            write_street(folder / f"{width}x{height}", (height, width), _PICTURES)
        with node_under_test({**parameters, "model": str(model.absolute())}, folder) as node:
            for height, width in sizes:
                size = f"{width}x{height}"
                trials = itertools.count(1)
                on_trial(size, 0)
                results[size] = measure_node(
                    partial(node.send, folder / size),
                    settings,
                    lambda size=size, trials=trials: on_trial(size, next(trials)),  # type: ignore[misc]
                )
            return {
                "node": node.segmenter,
                "sizes": results,
                "machine": describe_machine(select_device(str(parameters.get("device", "auto")))),
                "load_average": load,
            }


@contextmanager
def node_under_test(segmenter: Parameters, logs: Path) -> Iterator[NodeUnderTest]:
    """Run a segmenter. Main thread only.

    Args:
        segmenter: parameters of the segmenter node.
        logs: an existing folder for the output of the processes.

    Raises:
        ChildFailedError: it does not get ready.
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
        ) as process,
    ):
        wait_until_active(listener, process)
        yield NodeUnderTest(listener, process, environment, logs)


@dataclass(frozen=True)
class NodeUnderTest:
    """A running segmenter, and what sends images to it."""

    _listener: _Listener
    _segmenter: ChildProcess
    _environment: Mapping[str, str]
    _logs: Path

    @property
    def segmenter(self) -> dict[str, Any]:
        """What the segmenter says it uses."""
        status = self._listener.status
        return {
            "model": status.model,
            "device": status.device,
            "backend": status.backend,
            **sampling_of(status),
        }

    def send(self, folder: Path, rate: float, count: int, keep_labels: bool = False) -> SentImages:
        """Send `count` images of a folder at `rate` Hz, and wait for what comes back.

        Args:
            keep_labels: of the masks, which takes memory; by picture, a file name without suffix.

        Raises:
            ChildFailedError: a process fails, or what was sent is not known.
        """
        listener = self._listener
        before = listener.begin(keep_labels)
        log = self._logs / "video_publisher.log"
        with start_still_camera(folder, rate, count, self._environment, log) as publisher:
            ended: float | None = None
            while not listener.is_done(ended, before):
                listener.spin()
                publisher.check()
                self._segmenter.check_running()
                if ended is None and not publisher.running:
                    ended = time.monotonic()
            sent = listener.result()
            if len(sent.stamps) < count:  # drops would be counted wrong
                raise publisher.failure(
                    f"reported {len(sent.stamps)} of the {count} images it sent"
                )
        return sent


class _Listener(SegmenterListener):
    def __init__(self, signals: DeferredSignals) -> None:
        super().__init__("node_benchmark", signals)
        self._sent: dict[int, str] = {}  # names of the pictures by stamp
        self._keep_labels = False
        self._labels: dict[int, np.ndarray] = {}
        self._arrivals: dict[int, int] = {}
        self._statuses: dict[int, Any] = {}
        self.node.create_subscription(
            Header, "source_frame", self._on_source_frame, LATCHED_HISTORY
        )

    def begin(self, keep_labels: bool) -> Counts:
        """Forget what was before; returns the segmenter's counts."""
        self._keep_labels = keep_labels
        self._labels.clear()
        self._sent.clear()
        self._arrivals.clear()
        self._statuses.clear()
        return self.counts

    def is_done(self, ended: float | None, before: Counts) -> bool:
        """Whether every image is answered, or nothing more comes; `ended`: time of the last one."""
        return self.settled(ended, len(self._arrivals), self.counts.segmented - before.segmented)

    def result(self) -> SentImages:
        samples = {
            stamp: LatencySample(
                arrival=(arrival - stamp) / 1e9,
                publication=status.latency,
                in_node=status.latency_from_arrival,
                segmenter=status.total,
                convert=status.convert,
                publish=status.publish,
                steps=status.steps,
                samples=status.samples,
                network_size=(status.network_height, status.network_width),
            )
            for stamp, arrival in self._arrivals.items()
            if (status := self._statuses.get(stamp)) is not None
        }
        labels = [
            (self._sent[stamp], labels)
            for stamp, labels in self._labels.items()
            if stamp in self._sent
        ]
        return SentImages(tuple(self._sent), len(self._arrivals), samples, labels)

    def on_mask(self, message: Image) -> None:
        arrival = self.node.get_clock().now().nanoseconds
        stamp = nanoseconds(message.header.stamp)
        self._arrivals[stamp] = arrival
        if self._keep_labels:
            self._labels[stamp] = image_to_labels(message)

    def on_status(self, message: Any) -> None:
        # the same one comes again once a second
        if stamp := nanoseconds(message.header.stamp):
            self._statuses.setdefault(stamp, message)

    def _on_source_frame(self, message: Header) -> None:
        self._sent[nanoseconds(message.stamp)] = message.frame_id
