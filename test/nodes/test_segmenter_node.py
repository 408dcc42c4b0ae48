"""The node's wiring, with a segmenter that does what a test says, over DDS."""

from __future__ import annotations

import array
import logging
import math
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rclpy.subscription import Subscription
from ros_peer import rgb_image, wait_until
from scripted_node import CLASSES, Running, status
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32
from std_srvs.srv import SetBool

from camss_ros.inference.drift import Drift
from camss_ros.nodes import node_log
from camss_ros.nodes.qos import LATCHED
from camss_ros.nodes.segmenter import camera, frame_processor


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


def send_five_while_one_is_in_work(node: Running) -> None:
    node.segmenter.go.clear()
    node.image.publish(rgb_image(0))
    wait_until(lambda: node.segmenter.started == [0], "the first image in work")
    for number in range(1, 6):
        node.image.publish(rgb_image(number))
    wait_until(lambda: node.node.cameras[0].counter.snapshot().received == 6, "all images received")
    node.segmenter.go.set()
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(5))


def test_the_newest_image_wins(node: Running) -> None:
    send_five_while_one_is_in_work(node)
    assert node.segmenter.started == [0, 5]
    counts = status(node.peer, lambda s: s.segmented == 2)
    assert (counts.received, counts.dropped) == (6, 4)
    assert counts.received == counts.segmented + counts.dropped


def test_between_key_frames_images_wait_for_their_turn(start: Callable[..., Running]) -> None:
    node = start(keyframe_interval=4)
    node.image = node.peer.publisher(Image, "image")
    node.connect(node.image, node.peer.listen(Image, "segmentation/mask"))
    send_five_while_one_is_in_work(node)
    assert node.segmenter.started == [0, 3, 4, 5]
    assert status(node.peer, lambda s: s.segmented == 4).dropped == 2
    assert not node.peer.set_parameter("keyframe_interval", 1).successful  # while configured


def test_a_transition_that_the_state_does_not_have_is_refused(node: Running) -> None:
    assert not node.peer.transition(Transition.TRANSITION_CONFIGURE)
    assert node.peer.state() == "active"
    node.image.publish(rgb_image(1))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(1))


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
    running.peer.listen(DiagnosticArray, "/diagnostics")
    found = running.peer.wait_for("/diagnostics").status[0]
    assert (found.level, "and /there" in found.message) == (DiagnosticStatus.ERROR, True)
    running.error = None
    assert running.peer.set_parameter("model", "another").successful
    assert running.peer.transition(Transition.TRANSITION_CONFIGURE)
    found = running.peer.wait_for("/diagnostics", lambda m: m.status[0].message == "inactive")
    assert found.status[0].level == DiagnosticStatus.OK


def test_a_name_that_is_no_utf8_is_told(node: Running, capfd: pytest.CaptureFixture[str]) -> None:
    """ROS takes no such text: the node ended where it told of one."""
    node.error = ValueError("cannot read /data/stra\udcdfe.png")
    told = "cannot read /data/stra\\udcdfe.png"
    answer = node.peer.reload_model()
    assert not answer.success
    assert told in answer.message
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert node.peer.transition(transition)
    assert not node.peer.transition(Transition.TRANSITION_CONFIGURE)
    node.peer.listen(DiagnosticArray, "/diagnostics")
    node.peer.wait_for("/diagnostics", lambda m: told in m.status[0].message)
    record = logging.makeLogRecord({"levelno": logging.WARNING, "msg": str(node.error)})
    forwarding = logging.getLogger("camss_ros").handlers
    (handler,) = (each for each in forwarding if isinstance(each, node_log._NodeHandler))
    handler.handle(record)  # not by the logger: pytest, which listens too, can't send such text
    assert capfd.readouterr().err.count(told) == 3


def test_a_failing_image_is_counted_and_the_next_one_segmented(
    node: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    node.peer.listen(DiagnosticArray, "/diagnostics")
    node.segmenter.error = RuntimeError("no convergence")
    for number in (1, 2):
        node.image.publish(rgb_image(number))
        status(node.peer, lambda s, number=number: s.failed == number)
    told = node.peer.wait_for(
        "/diagnostics", lambda m: "images could not be segmented" in m.status[0].message
    )
    assert told.status[0].level == b"\x02"  # all of that second
    node.segmenter.error = None
    node.image.publish(rgb_image(3))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(3))
    assert capfd.readouterr().err.count("no convergence") == 1  # throttled


def test_a_bad_parameter_is_refused_with_its_reason(node: Running) -> None:
    for name, value, reason in (
        ("steps", 0, "0"),
        ("steps", 1001, "1001"),
        ("steps", 2.5, "type"),
        ("sampler", "euler", "one of ddim"),
        ("samples", 65, "65"),
        ("temperature", -0.1, "-0.1"),
        ("output_size", [-1, 4], "2 numbers from 0"),
        ("output_size", [4], "2 numbers"),
        ("mask_format", "png", "clean it up first"),
        ("ignore_below_confidence", 1.5, "1.5"),
        ("autostart", False, "read-only"),
        ("device", "gpu", "auto, cpu, cuda or cuda:N, not 'gpu'"),
        ("device", "cuda:x", "cuda:N"),
        ("device", "", "cuda:N"),
        ("network_size", [17, 17], "multiples of 16"),
        ("network_size", [480, 0], "multiples of 16"),
        ("network_size", [8192, 16], "2 numbers from 0 to 4096"),
        ("network_size", [480], "2 numbers from 0 to 4096"),
        ("model", "", "must name a model"),
        ("temperature", math.nan, "nan"),
        ("latency_budget_ms", math.inf, "inf"),
    ):
        before = node.peer.get_parameter(name)
        result = node.peer.set_parameter(name, value)
        assert not result.successful, (name, value)
        assert reason in result.reason
        assert node.peer.get_parameter(name) == before


def test_an_unknown_parameter_is_told(
    start: Callable[..., Running], capfd: pytest.CaptureFixture[str]
) -> None:
    running = start(autostart=False, stepz=3, use_sim_time=True, frame_rate=2.0)
    assert not running.peer.set_parameter("stepz", 4).successful
    log = capfd.readouterr().err
    assert "unknown parameter 'stepz' is ignored: did you mean 'steps'?" in log
    assert "'frame_rate'" in log
    assert log.count("unknown parameter") == 2


def test_label_info_follows_the_threshold(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    # vision_msgs has no wheel: the threshold stands for the message
    monkeypatch.setattr("camss_ros.nodes.segmenter.outputs.label_info_type", lambda: Float32)
    monkeypatch.setattr(
        "camss_ros.nodes.segmenter.outputs.label_info_message",
        lambda classes, header, threshold: Float32(data=threshold),
    )
    peer = start(ignore_below_confidence=0.5).peer
    peer.listen(Float32, "segmentation/label_info", LATCHED)
    peer.wait_for("segmentation/label_info", lambda m: m.data == 0.5)
    assert peer.set_parameter("ignore_below_confidence", 0.25).successful
    peer.wait_for("segmentation/label_info", lambda m: m.data == 0.25)


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
    running = start(output_size=[24, 0])
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
    wait_until(lambda: running.node.cameras[0].infos, "the calibration received")
    image.publish(rgb_image(1))

    mask = peer.wait_for_stamp("segmentation/mask", rgb_image(1))
    scaled = peer.wait_for_stamp("segmentation/camera_info", rgb_image(1))
    assert (scaled.height, scaled.width) == (mask.height, mask.width) == (16, 24)
    assert list(scaled.k) == [20.0, 0.0, 12.0, 0.0, 22.0, 8.0, 0.0, 0.0, 1.0]
    assert list(scaled.p) == [20.0, 0.0, 12.0, -4.0, 0.0, 22.0, 8.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert (scaled.roi.width, scaled.roi.height, scaled.roi.x_offset) == (10, 5, 2)
    assert (scaled.distortion_model, list(scaled.d)) == ("plumb_bob", list(info.d))


def test_a_mask_has_the_calibration_of_its_own_image(node: Running) -> None:
    peer = node.peer
    camera_info = peer.publisher(CameraInfo, "camera_info")
    node.connect(camera_info, peer.listen(CameraInfo, "segmentation/camera_info"))

    def calibrate(number: int, height: int, width: int) -> None:
        header = rgb_image(number).header
        camera_info.publish(CameraInfo(header=header, height=height, width=width))
        (camera,) = node.node.cameras
        wait_until(
            lambda: any(info.header == header for info in camera.infos), "the calibration received"
        )

    calibrate(1, 32, 48)
    node.segmenter.go.clear()
    node.image.publish(rgb_image(1))
    wait_until(lambda: node.segmenter.started, "the image in work")
    calibrate(2, 64, 96)  # the camera changes its size meanwhile
    node.segmenter.go.set()
    info = peer.wait_for_stamp("segmentation/camera_info", rgb_image(1))
    assert (info.height, info.width) == (32, 48)
    node.image.publish(rgb_image(3, 64, 96))  # whose calibration does not come: the newest
    info = peer.wait_for_stamp("segmentation/camera_info", rgb_image(3))
    assert (info.height, info.width) == (64, 96)


def test_the_overlay_is_drawn_only_for_a_listener(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def overlay(image: np.ndarray, labels: np.ndarray, classes: Any) -> np.ndarray:
        drawn.append((labels.shape, classes))
        return image

    monkeypatch.setattr("camss_ros.images.drawing.overlay", overlay)
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
    assert reported.status[0].level == b"\x02"  # every image of that second
    assert "/segmenter" in reported.status[0].name
    calm = node.peer.wait_for(
        "/diagnostics", lambda m: m.status[0].level == b"\x00" and values(m)["rejected"] == "1"
    )
    assert calm.status[0].message == "active"


def test_diagnostics_have_rates_latencies_steps_device_and_memory(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Subscription, "get_publisher_count")  # Humble has none
    node.peer.listen(DiagnosticArray, "/diagnostics")
    node.image.publish(rgb_image(1))

    def values(message: DiagnosticArray) -> dict[str, str]:
        return {v.key: v.value for v in message.status[0].values}

    told = values(
        node.peer.wait_for("/diagnostics", lambda m: float(values(m)["output rate (Hz)"]) > 0)
    )
    assert float(told["input rate (Hz)"]) >= float(told["output rate (Hz)"])
    assert 0 < float(told["latency p50 (s)"]) <= float(told["latency p95 (s)"])
    assert float(told["time without an image (s)"]) >= 0
    assert int(told["steps"]) == node.node.parameters.sampling().steps
    assert (told["device"], told["dropped"], told["image publishers"]) == ("cpu", "0", "1")
    assert int(told["memory (MB)"]) > 50
    assert told["process"] == str(os.getpid())


def test_rates_begin_with_the_counts_where_listening_is_disabled(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "_RATE_REPORTS", 1)  # those before are forgotten, as in time
    node = start()
    image = node.peer.publisher(Image, "image")
    node.connect(image)
    node.peer.listen(DiagnosticArray, "/diagnostics")
    image.publish(rgb_image(1))

    def told(state: str, received: int) -> dict[str, str]:
        message = node.peer.wait_for(
            "/diagnostics",
            lambda m: {("state", state), ("received", str(received))} <= set(values(m).items()),
        )
        return values(message)

    def values(message: DiagnosticArray) -> dict[str, str]:
        return {v.key: v.value for v in message.status[0].values}

    told("active", 1)
    request, answer = SetBool.Request(data=False), SetBool.Response()
    node.in_executor(lambda: node.node._on_set_enabled(request, answer))
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    assert node.peer.transition(Transition.TRANSITION_ACTIVATE)
    assert told("disabled", 0)["input rate (Hz)"] == "0.00"


def test_diagnostics_warn_of_images_unlike_those_of_the_training(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_processor, "_LOOK_PERIODS", (0.0, 0.0))
    node.peer.listen(DiagnosticArray, "/diagnostics")
    node.segmenter.drifted = Drift(3.0, 0.5)
    for number in range(6):
        node.image.publish(rgb_image(number))
        status(node.peer, lambda s, done=number: s.segmented > done)
    told = status(node.peer, lambda s: s.segmented == 6)
    assert (told.token_distance, told.unsure_share) == (3.0, 0.5)
    node.peer.wait_for(
        "/diagnostics",
        lambda m: (
            m.status[0].level == DiagnosticStatus.WARN
            and "distance of image tokens 3.00 times" in m.status[0].message
            and ("drift: unsure share", "0.50") in [(v.key, v.value) for v in m.status[0].values]
        ),
    )
    # another model, of which nothing is known yet
    assert node.peer.reload_model().success
    told = status(node.peer, lambda s: s.token_distance == 0)
    assert told.unsure_share == 0
    node.peer.wait_for("/diagnostics", lambda m: m.status[0].level == DiagnosticStatus.OK)


def test_diagnostics_name_the_hardware(node: Running) -> None:
    node.peer.listen(DiagnosticArray, "/diagnostics")
    assert node.peer.wait_for("/diagnostics").status[0].hardware_id == socket.gethostname()


@pytest.mark.parametrize("use_sim_time", [False, True])
def test_diagnostics_come_once_a_second(start: Callable[..., Running], use_sim_time: bool) -> None:
    """Also where nobody publishes /clock: a simulation that pauses stops no report."""
    running = start(use_sim_time=use_sim_time)
    running.peer.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: len(running.peer.received["/diagnostics"]) >= 3, "/diagnostics")
    assert running.node._timer.timer_period_ns == 10**9


def test_latency_is_the_time_since_the_stamp(node: Running) -> None:
    image = rgb_image(1)
    image.header.stamp.sec = int(time.time()) - 5
    node.image.publish(image)
    told = status(node.peer, lambda s: s.segmented == 1)
    assert 4 < told.latency < 30
    assert 0 < told.latency_from_arrival < told.latency - 4


def test_latency_ends_with_the_mask_whatever_is_done_after_it(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.segmenter, "drift", lambda *frame: time.sleep(0.5))
    image, begun = rgb_image(1), time.monotonic()
    image.header.stamp = node.node.get_clock().now().to_msg()
    node.image.publish(image)
    told = status(node.peer, lambda s: s.segmented == 1 and s.latency)
    assert told.latency < time.monotonic() - begun - 0.5
