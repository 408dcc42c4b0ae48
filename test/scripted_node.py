"""A segmenter node with a segmenter that does what a test says, and somebody to talk to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from ros_peer import RosPeer, wait_until

from camss_ros.inference.segmenter import FrameRequest, Segmentation
from camss_ros.nodes.qos import LATCHED
from camss_ros.nodes.segmenter.node import SegmenterNode
from camss_ros.nodes.spinner import Spinner

CLASSES = tuple(
    SimpleNamespace(id=i, name=name, color=(i, 0, 0)) for i, name in enumerate(("sky", "road"))
)
TIMINGS = {
    name: 0.001
    for name in (
        "preprocess",
        "tokens",
        "transformer",
        "sampling",
        "decode",
        "postprocess",
        "total",
    )
}


class ScriptedSegmenter:
    """Labels an image with its first byte. Blocks or fails when told to; `bad` are the first bytes
    of images on which it fails, and with them their batch."""

    def __init__(self) -> None:
        self.classes = CLASSES
        self.device = torch.device("cpu")
        self.input_size = self.network_size = (16, 24)
        self.can_resize = True
        self.delay = 0.0  # s, of every frame
        self.stamps: list[float | None] = []
        self.released = 0
        self.model_name = "scripted"
        self.backend = "scripted"
        self.unmeasured: Any = None
        self.sampling: Any = None
        self.closed = False
        self.drifted: Any = None  # of every frame
        self.error: Exception | None = None
        self.bad: Collection[int] = ()
        self.cancellable = True
        self.propagated = False  # every frame
        self.go = threading.Event()
        self.go.set()
        self.started: list[int] = []
        self.batches: list[set[str]] = []  # the cameras of each

    def warm_up(self, height: int, width: int, batch: int) -> None:
        assert (height, width) > (0, 0)
        self.expected_batch = batch

    def segment_batch(
        self, requests: Sequence[FrameRequest], *, cancelled: Callable[[], bool]
    ) -> list[Segmentation]:
        self.batches.append({request.stream for request in requests})
        ((self.network_size, self.sampling),) = {(r.network_size, r.sampling) for r in requests}
        return [
            self.segment(
                request.image,
                request.output_size,
                cancelled=cancelled,
                uncertainty=request.uncertainty,
                stamp=request.stamp,
            )
            for request in requests
        ]

    def segment(
        self,
        image: np.ndarray,
        output_size: tuple[int, int] | None = None,
        *,
        cancelled: Callable[[], bool],
        uncertainty: bool = False,
        stamp: float | None = None,
    ) -> Segmentation:
        self.stamps.append(stamp)
        time.sleep(self.delay)
        self.started.append(int(image[0, 0, 0]))
        while not self.go.wait(0.01):
            if self.cancellable and cancelled():
                raise RuntimeError("cancelled")
        if self.error is not None:
            raise self.error
        if int(image[0, 0, 0]) in self.bad:
            raise RuntimeError("a bad frame")
        size = output_size or image.shape[:2]
        return Segmentation(
            labels=np.full(size, image[0, 0, 0], np.uint8),
            confidence=np.full(size, 200, np.uint8),
            timings=TIMINGS,
            steps=self.sampling.steps,
            uncertainty=np.full(size, 9, np.uint8) if uncertainty else None,
            propagated=self.propagated,
        )

    def drift(self, image: np.ndarray, confidence: np.ndarray) -> Any:
        assert (image.ndim, confidence.shape) == (3, image.shape[:2])
        if isinstance(self.drifted, Exception):
            raise self.drifted
        return self.drifted

    def is_prepared(self, sampling: Any, size: tuple[int, int]) -> bool:
        return True

    def release_memory(self) -> None:
        self.released += 1

    def close(self) -> None:
        self.closed = True


class Running:
    """A node, its segmenters in the order they were made, and a peer."""

    def __init__(self, domain_id: int, *parameters: rclpy.Parameter) -> None:
        self.segmenters: list[ScriptedSegmenter] = []
        self.error: Exception | None = None
        self.before_load: Callable[[], object] = lambda: None
        self.on_made: Callable[[ScriptedSegmenter], object] = lambda _: None
        self.models: list[str] = []  # the parameter, of each
        self._started = threading.Event()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = SegmenterNode(
            segmenter_factory=self._make,
            check_guard=lambda file, segmenter: None,
            context=self._context,
            parameter_overrides=parameters,
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._spinner = Spinner(self._executor, self._start)
        self.peer = RosPeer(domain_id)

    def _make(self, parameters: Any) -> ScriptedSegmenter:
        self.before_load()
        if self.error is not None:
            raise self.error
        segmenter = ScriptedSegmenter()
        self.models.append(parameters["model"])
        self.segmenters.append(segmenter)
        self.on_made(segmenter)
        return segmenter

    @property
    def segmenter(self) -> ScriptedSegmenter:
        return self.segmenters[-1]

    def in_executor(self, call: Callable[[], Any]) -> Any:
        """What something gives that is called where the node's services are."""
        future = self._executor.create_task(call)
        wait_until(future.done, "the call")
        return future.result()

    def connect(self, *ends: Any) -> None:
        """Wait until ends of the peer and the node know each other, from both sides."""
        # It is active before it has subscribed.
        wait_until(self._started.is_set, "the node started")
        wait_until(lambda: self.node._state == "active", "the node active")
        self.peer.connect(*ends, others=[*self.node.publishers, *self.node.subscriptions])

    def _start(self) -> None:
        self.node.autostart()
        self._started.set()

    def close(self) -> None:
        self.peer.close()
        self.node.cancel()
        self._spinner.end()
        self.node.trigger_shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


def status(peer: RosPeer, condition: Callable[[Any], bool]) -> Any:
    from camss_ros.msg import SegmenterStatus

    topic = "segmentation/status"
    if topic not in peer.received:
        peer.listen(SegmenterStatus, topic, LATCHED)
    return peer.wait_for(topic, condition)
