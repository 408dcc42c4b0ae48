"""The node's wiring, with a segmenter that does what a test says, over DDS."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rclpy.executors import SingleThreadedExecutor
from ros_peer import RosPeer, rgb_image, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from camss_ros.nodes.qos import LATCHED
from camss_ros.nodes.segmenter_node import SegmenterNode

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
    """Labels an image with its first byte. Blocks or fails when told to."""

    def __init__(self) -> None:
        self.classes = CLASSES
        self.device = "cpu"
        self.backend = "scripted"
        self.model_name = "scripted"
        self.sampling: Any = None
        self.closed = False
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.started: list[int] = []

    def warm_up(self, height: int, width: int) -> None:
        assert (height, width) > (0, 0)

    def segment(
        self,
        image: np.ndarray,
        output_size: tuple[int, int] | None = None,
        *,
        cancelled: Callable[[], bool],
    ) -> SimpleNamespace:
        self.started.append(int(image[0, 0, 0]))
        while not self.go.wait(0.01):
            if cancelled():
                raise RuntimeError("cancelled")
        if self.error is not None:
            raise self.error
        size = output_size or image.shape[:2]
        return SimpleNamespace(
            labels=np.full(size, image[0, 0, 0], np.uint8),
            confidence=np.full(size, 200, np.uint8),
            timings=TIMINGS,
            steps=self.sampling.steps,
        )

    def close(self) -> None:
        self.closed = True


class Running:
    """A node, its segmenters in the order they were made, and a peer."""

    def __init__(self, domain_id: int, *parameters: rclpy.Parameter) -> None:
        self.segmenters: list[ScriptedSegmenter] = []
        self.error: Exception | None = None
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = SegmenterNode(
            segmenter_factory=self._make, context=self._context, parameter_overrides=parameters
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.peer = RosPeer(domain_id)

    def _make(self, parameters: Any) -> ScriptedSegmenter:
        if self.error is not None:
            raise self.error
        segmenter = ScriptedSegmenter()
        self.segmenters.append(segmenter)
        return segmenter

    @property
    def segmenter(self) -> ScriptedSegmenter:
        return self.segmenters[-1]

    def connect(self, *ends: Any) -> None:
        """Wait until ends of the peer and the node know each other, from both sides."""
        wait_until(lambda: self.node._state == "active", "the node active")
        self.peer.connect(*ends, others=[*self.node.publishers, *self.node.subscriptions])

    def _spin(self) -> None:
        self.node.autostart()
        self._executor.spin()

    def close(self) -> None:
        self.peer.close()
        self.node.cancel_inference()
        self._executor.shutdown()
        self._thread.join()
        self.node.trigger_shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def start(domain_id: int) -> Iterator[Callable[..., Running]]:
    """Starts nodes, with parameters by keyword, that end with the test."""
    running: list[Running] = []

    def start_one(**parameters: Any) -> Running:
        overrides = [rclpy.Parameter(name, value=value) for name, value in parameters.items()]
        running.append(Running(domain_id, *overrides))
        return running[-1]

    yield start_one
    for one in running:
        one.close()


@pytest.fixture
def node(start: Callable[..., Running]) -> Running:
    running = start()
    running.image = running.peer.publisher(Image, "image")
    running.mask = running.peer.listen(Image, "segmentation/mask")
    running.connect(running.image, running.mask)
    return running


def status(peer: RosPeer, condition: Callable[[Any], bool]) -> Any:
    from camss_ros.msg import SegmenterStatus

    topic = "segmentation/status"
    if topic not in peer.received:
        peer.listen(SegmenterStatus, topic, LATCHED)
    return peer.wait_for(topic, condition)


def test_mask_and_confidence_have_the_header_of_their_image(node: Running) -> None:
    confidence = node.peer.listen(Image, "segmentation/confidence")
    node.connect(confidence)
    image = rgb_image(7)
    node.image.publish(image)
    for topic, value in (("segmentation/mask", 7), ("segmentation/confidence", 200)):
        output = node.peer.wait_for_stamp(topic, image)
        assert (output.encoding, output.height, output.width) == ("mono8", 32, 48)
        assert output.step == output.width
        assert set(output.data) == {value}


def test_the_newest_image_wins(node: Running) -> None:
    node.segmenter.go.clear()
    node.image.publish(rgb_image(0))
    wait_until(lambda: node.segmenter.started == [0], "the first image in work")
    for number in range(1, 6):
        node.image.publish(rgb_image(number))
    wait_until(lambda: node.node._counter.snapshot().received == 6, "all images received")
    node.segmenter.go.set()
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(5))
    assert node.segmenter.started == [0, 5]
    counts = status(node.peer, lambda s: s.segmented == 2)
    assert (counts.received, counts.dropped) == (6, 4)
    assert counts.received == counts.segmented + counts.dropped


def test_deactivation_gives_up_the_image_in_work_and_activation_goes_on(node: Running) -> None:
    node.segmenter.go.clear()
    node.image.publish(rgb_image(1))
    wait_until(lambda: node.segmenter.started, "an image in work")
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    assert node.peer.state() == "inactive"
    assert status(node.peer, lambda s: s.dropped == 1).segmented == 0
    wait_until(lambda: node.image.get_subscription_count() == 0, "the end of the subscription")

    node.segmenter.go.set()
    assert node.peer.transition(Transition.TRANSITION_ACTIVATE)
    node.connect(node.image)
    node.image.publish(rgb_image(2))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(2))
    assert [m.header.frame_id for m in node.peer.received["segmentation/mask"]] == ["camera 2"]


def test_cleanup_frees_the_model_and_configure_loads_it_again(node: Running) -> None:
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    assert node.peer.transition(Transition.TRANSITION_CLEANUP)
    assert node.segmenter.closed
    assert node.peer.state() == "unconfigured"
    assert node.peer.transition(Transition.TRANSITION_CONFIGURE)
    assert len(node.segmenters) == 2
    assert not node.segmenter.closed


def test_without_autostart_it_waits(start: Callable[..., Running]) -> None:
    running = start(autostart=False)
    assert running.peer.state() == "unconfigured"
    assert running.segmenters == []


def test_a_model_that_cannot_be_loaded_leaves_the_node_unconfigured(
    start: Callable[..., Running], capfd: pytest.CaptureFixture[str]
) -> None:
    running = start(autostart=False)
    running.error = ValueError("no such model, looked in /here and /there")
    assert not running.peer.transition(Transition.TRANSITION_CONFIGURE)
    assert running.peer.state() == "unconfigured"
    assert "looked in /here and /there" in capfd.readouterr().err
    running.error = None
    assert running.peer.set_parameter("model", "another").successful
    assert running.peer.transition(Transition.TRANSITION_CONFIGURE)


def test_a_failing_image_is_counted_and_the_next_one_segmented(
    node: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    node.segmenter.error = RuntimeError("out of memory")
    for number in (1, 2):
        node.image.publish(rgb_image(number))
        status(node.peer, lambda s, number=number: s.failed == number)
    node.segmenter.error = None
    node.image.publish(rgb_image(3))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(3))
    assert capfd.readouterr().err.count("out of memory") == 1  # throttled


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("steps", 0, "0"),
        ("steps", 1001, "1001"),
        ("steps", 2.5, "type"),
        ("sampler", "euler", "one of ddim"),
        ("samples", 65, "65"),
        ("temperature", -0.1, "-0.1"),
        ("mask_scale", 0.0, "0.0"),
        ("model", "other", "clean it up first"),
        ("autostart", False, "read-only"),
    ],
)
def test_a_bad_parameter_is_refused_with_its_reason(
    node: Running, name: str, value: Any, reason: str
) -> None:
    before = node.peer.get_parameter(name)
    result = node.peer.set_parameter(name, value)
    assert not result.successful
    assert reason in result.reason
    assert node.peer.get_parameter(name) == before


def test_sampling_parameters_change_while_it_runs(node: Running) -> None:
    for name, value in (("steps", 9), ("sampler", "dpm++2m"), ("samples", 2), ("temperature", 0.5)):
        result = node.peer.set_parameter(name, value)
        assert result.successful, result.reason
    node.image.publish(rgb_image(1))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(1))
    sampling = node.segmenter.sampling
    assert (sampling.steps, sampling.sampler) == (9, "dpm++2m")
    assert (sampling.samples, sampling.temperature) == (2, 0.5)


def test_the_calibration_follows_the_size_of_the_mask(start: Callable[..., Running]) -> None:
    running = start(mask_scale=0.5)
    peer = running.peer
    camera_info = peer.publisher(CameraInfo, "camera_info")
    image = peer.publisher(Image, "image")
    outputs = [
        peer.listen(CameraInfo, "segmentation/camera_info"),
        peer.listen(Image, "segmentation/mask"),
    ]
    running.connect(camera_info, image, *outputs)
    info = CameraInfo(height=32, width=48, distortion_model="plumb_bob", d=[0.1, 0, 0, 0, 0])
    info.k = [40.0, 0.0, 24.0, 0.0, 44.0, 16.0, 0.0, 0.0, 1.0]
    info.p = [40.0, 0.0, 24.0, -8.0, 0.0, 44.0, 16.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.roi.width, info.roi.height, info.roi.x_offset = 20, 10, 4
    camera_info.publish(info)
    wait_until(lambda: running.node._camera_info is not None, "the calibration received")
    image.publish(rgb_image(1))

    mask = peer.wait_for_stamp("segmentation/mask", rgb_image(1))
    scaled = peer.wait_for_stamp("segmentation/camera_info", rgb_image(1))
    assert (scaled.height, scaled.width) == (mask.height, mask.width) == (16, 24)
    assert list(scaled.k) == [20.0, 0.0, 12.0, 0.0, 22.0, 8.0, 0.0, 0.0, 1.0]
    assert list(scaled.p) == [20.0, 0.0, 12.0, -4.0, 0.0, 22.0, 8.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert (scaled.roi.width, scaled.roi.height, scaled.roi.x_offset) == (10, 5, 2)
    assert (scaled.distortion_model, list(scaled.d)) == ("plumb_bob", list(info.d))


def test_the_overlay_is_drawn_only_for_a_listener(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def overlay(image: np.ndarray, labels: np.ndarray, classes: Any) -> np.ndarray:
        drawn.append((labels.shape, classes))
        return image

    monkeypatch.setattr("camss_ros.data.drawing.overlay", overlay)
    node.image.publish(rgb_image(1))
    status(node.peer, lambda s: s.segmented == 1)
    assert drawn == []

    node.connect(node.peer.listen(Image, "segmentation/overlay"))
    node.image.publish(rgb_image(2))
    picture = node.peer.wait_for_stamp("segmentation/overlay", rgb_image(2))
    assert (picture.encoding, picture.step) == ("rgb8", 3 * picture.width)
    assert drawn == [((32, 48), CLASSES)]


def test_a_compressed_image_is_segmented_and_garbage_survived(
    start: Callable[..., Running],
) -> None:
    running = start(image_transport="compressed")
    peer = running.peer
    image = peer.publisher(CompressedImage, "image/compressed")
    running.connect(image, peer.listen(Image, "segmentation/mask"))
    image.publish(CompressedImage(format="jpeg", data=array.array("B", b"not a JPEG")))
    status(peer, lambda s: s.rejected == 1)
    _, png = cv2.imencode(".png", np.full((32, 48, 3), 5, np.uint8))
    good = CompressedImage(
        header=rgb_image(5).header, format="png", data=array.array("B", png.tobytes())
    )
    image.publish(good)
    assert set(peer.wait_for_stamp("segmentation/mask", good).data) == {5}


def test_rejections_show_in_diagnostics_by_reason(node: Running) -> None:
    node.peer.listen(DiagnosticArray, "/diagnostics")
    bad = rgb_image(1)
    bad.encoding = "rainbow9"
    node.image.publish(bad)

    def values(message: DiagnosticArray) -> dict[str, str]:
        return {v.key: v.value for v in message.status[0].values}

    reported = node.peer.wait_for("/diagnostics", lambda m: values(m)["rejected"] == "1")
    assert values(reported)["rejected: encoding"] == "1"
    assert reported.status[0].level == b"\x01"
    assert "/segmenter" in reported.status[0].name
    calm = node.peer.wait_for(
        "/diagnostics", lambda m: m.status[0].level == b"\x00" and values(m)["rejected"] == "1"
    )
    assert calm.status[0].message == "active"


def test_latency_is_the_time_since_the_stamp(node: Running) -> None:
    image = rgb_image(1)
    image.header.stamp.sec = int(time.time()) - 5
    node.image.publish(image)
    assert 4 < status(node.peer, lambda s: s.segmented == 1).latency < 30
