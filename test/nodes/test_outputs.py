"""Sizes, formats and classes of the outputs, read back as consumers do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ros_peer import rgb_image, wait_until
from run_length_decoder import run_length_decoder
from scripted_node import Running
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from camss_ros.images.label_mapping import map_classes
from camss_ros.images.label_sets import LabelSetError, load_label_set
from camss_ros.inference.frame_ops import to_labels, to_uncertainty
from camss_ros.inference.memory import is_out_of_memory
from camss_ros.nodes.messages import to_png_message, to_runs_message
from camss_ros.nodes.segmenter import camera
from camss_ros.nodes.segmenter.camera_info import scale_camera_info
from camss_ros.nodes.segmenter.diagnostics import FrameCounter
from camss_ros.nodes.segmenter.health import (
    ERROR,
    PLAUSIBLE_AGE,
    WARN,
    Observation,
    assess,
    latency,
)
from camss_ros.nodes.segmenter.parameters import SPECS


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))
)
def test_autoware_decodes_the_runs_to_the_mask(labels: np.ndarray) -> None:
    message = to_runs_message(labels, Header(frame_id="camera"))
    assert (message.encoding, message.height, message.width) == ("mono8", *labels.shape)
    decoded = run_length_decoder(message.data.tobytes(), message.height, message.width)
    np.testing.assert_array_equal(decoded, labels)


def test_a_png_mask_comes_back_bit_for_bit() -> None:
    labels = np.random.default_rng(0).integers(0, 256, (7, 9), np.uint8)
    message = to_png_message(labels, Header())
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, labels)


def test_the_classes_of_a_model_become_those_of_another_set() -> None:
    camvid, autoware = load_label_set("camvid11"), load_label_set("autoware16")
    mapping = map_classes(camvid.classes, "any", "autoware16")
    assert mapping.classes == autoware.classes
    car = next(c.id for c in camvid.classes if c.name == "car")
    vehicle = next(c.id for c in autoware.classes if c.name == "vehicle")
    assert mapping.apply(np.array([[car, 255]], np.uint8)).tolist() == [[vehicle, 255]]


def test_a_label_set_of_ones_own_says_where_its_classes_come_from(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "classes: [{id: 0, name: drivable, color: [0, 255, 0]}]\n"
        "sources: {camvid11: {road: drivable, pavement: drivable}}\n"
    )
    camvid = load_label_set("camvid11")
    mapping = map_classes(camvid.classes, "any", str(path))
    ids = {c.name: c.id for c in camvid.classes}
    labels = np.array([[ids["road"], ids["pavement"], ids["sky"]]], np.uint8)
    assert mapping.apply(labels).tolist() == [[0, 0, 255]]
    # classes that are in no known set: by the name of the model, as the message says
    with pytest.raises(LabelSetError, match=r"or sources.other in that of mine"):
        map_classes(camvid.classes[:3], "other", str(path))
    path.write_text(path.read_text().replace("camvid11: {road", "other: {sky"))
    mapping = map_classes(camvid.classes[:3], "other", str(path))
    assert mapping.apply(np.array([[0, 1]], np.uint8)).tolist() == [[0, 255]]


def test_uncertainty_is_the_entropy_and_confidence_the_agreement_of_samples() -> None:
    agreeing = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    split = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for samples, confidence, uncertainty in ((agreeing, 255, 0), (split, 128, 255)):
        mean = samples.mean(dim=0)[None, :, None, None].expand(1, 2, 2, 2)
        assert to_labels(mean, (2, 2))[1].unique().tolist() == [confidence]
        assert to_uncertainty(mean, (4, 4)).unique().tolist() == [uncertainty]


def observation(**changes: Any) -> Observation:
    values = {"received": 10, "input_rate": 10.0, "output_rate": 10.0, "unusable": 0}
    return Observation(**{**values, "latency": 0.1, "silence": 0.1, **changes})


@pytest.mark.parametrize(
    ("changes", "limits", "level", "text"),
    [
        ({"silence": 3.0, "silence_reason": "nobody publishes /image"}, {}, WARN, "nobody"),
        ({"silence": 11.0}, {}, ERROR, "no image for 11.0 s"),
        ({"latency": 0.5}, {"warn_latency": 0.4}, WARN, "latency 0.500"),
        ({"output_rate": 3.0}, {"error_rate": 5.0}, ERROR, "3.0 label images a second"),
        ({"unusable": 1}, {}, WARN, "1 images"),
        ({"unusable": 9}, {}, ERROR, "9 images"),
        ({"unusable": 9}, {"warn_unusable": 1.0}, ERROR, "9 images"),
        ({"out_of_memory": True}, {}, ERROR, "~/reload_model"),
        ({"over_budget": True}, {}, WARN, "latency_budget_ms"),
        ({"time_in_work": 31.0}, {}, ERROR, "in work for 31 s: the device hangs"),
        ({"memory_measure": "one sample a frame"}, {}, WARN, "one sample"),
        ({"token_distance": 1.25, "unsure_share": 1.0}, {}, WARN, "image tokens 1.25 times"),
        ({"token_distance": 1.9, "unsure_share": 2.1}, {"warn_drift": 2.0}, WARN, "unsure pixels"),
    ],
)
def test_thresholds_decide_on_the_level(
    changes: dict[str, Any], limits: dict[str, float], level: int, text: str
) -> None:
    parameters = {spec.name: spec.default for spec in SPECS} | limits
    ((found, message),) = assess(observation(**changes), parameters)
    assert found == level
    assert text in message


def test_a_limit_of_zero_switches_a_check_off() -> None:
    defaults = {spec.name: spec.default for spec in SPECS}
    off = {name: 0.0 for name in defaults if name.startswith(("warn_", "error_"))}
    bad = observation(silence=100.0, latency=100.0, output_rate=0.0, token_distance=9.0)
    assert assess(bad, off) == []
    assert assess(observation(unusable=1), off)[0][0] == ERROR  # any is too many
    # where nothing is received, nothing can come out
    assert assess(observation(received=0, output_rate=0.0), defaults | {"warn_rate": 5.0}) == []


def test_a_rate_below_one_a_second_is_that_of_several_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(camera, "time", SimpleNamespace(monotonic=lambda: now[0]))
    node: Any = SimpleNamespace(
        get_logger=lambda: None, get_fully_qualified_name=lambda: "/segmenter"
    )
    unused: Any = None
    channel = camera.CameraChannel(node, "front", unused, SimpleNamespace, unused, unused)

    def rate_after_a_second(images: int) -> float:
        now[0] += 1.0
        for _ in range(images):
            channel.counter.count("segmented")
        values = channel.report("active", {}, None, "").values
        return next(float(each.value) for each in values if each.key == "output rate (Hz)")

    rates = [rate_after_a_second(second % 2) for second in range(20)]
    assert all(0.4 <= rate <= 0.6 for rate in rates[5:])
    assert [rate_after_a_second(images) for images in (10, 12)] == [10.0, 12.0]


def test_rejected_and_failed_images_are_unusable() -> None:
    counter = FrameCounter()
    for what in ("received", "segmented", "dropped", "failed"):
        counter.count(what)
    assert counter.snapshot().unusable == 1
    counter.rejected("encoding")
    counter.rejected("size")
    assert counter.snapshot().unusable == 3


@pytest.mark.parametrize(
    ("age", "is_plausible"),
    [(0.0, True), (2.0, True), (-1e-9, False), (-3.0, False), (PLAUSIBLE_AGE, False)],
)
def test_latency_is_since_the_stamp_unless_that_is_of_another_clock(
    age: float, is_plausible: bool
) -> None:
    now, arrival = 1_700_000_000_000_000_000, time.monotonic() - 5.0
    seconds = latency(now, now - round(age * 1e9), arrival)
    assert seconds == pytest.approx(age if is_plausible else 5.0, abs=1.0)


def test_the_calibration_is_scaled_in_each_direction_by_itself() -> None:
    info = CameraInfo(height=40, width=100)
    info.k = [40.0, 0.0, 50.0, 0.0, 44.0, 20.0, 0.0, 0.0, 1.0]
    info.p = [40.0, 0.0, 50.0, -8.0, 0.0, 44.0, 20.0, 4.0, 0.0, 0.0, 1.0, 0.0]
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 20, 8, 60, 24
    for _ in range(2):  # one calibration is that of many images
        scaled = scale_camera_info(info, (40, 100), (10, 50), Header(frame_id="left"))
    assert (scaled.height, scaled.width, scaled.header.frame_id) == (10, 50, "left")
    assert list(scaled.k) == [20.0, 0.0, 25.0, 0.0, 11.0, 5.0, 0.0, 0.0, 1.0]
    assert list(scaled.p) == [20.0, 0.0, 25.0, -4.0, 0.0, 11.0, 5.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    roi = scaled.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (10, 2, 30, 6)


def test_what_is_no_lack_of_memory_is_not_taken_for_it() -> None:
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    for library in ("CUBLAS_STATUS", "CUDNN_STATUS"):
        assert is_out_of_memory(RuntimeError(f"CUDA error: {library}_ALLOC_FAILED when calling"))
    cudnn_9 = "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"
    assert is_out_of_memory(RuntimeError(cudnn_9))
    pytorch = "GET was unable to find an engine to execute this computation after trying 3 plans."
    assert is_out_of_memory(RuntimeError(pytorch))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_outputs_have_the_size_that_is_asked_for(start: Callable[..., Running]) -> None:
    running = start(output_size=[12, 0], ignore_below_confidence=0.9)
    image = running.peer.publisher(Image, "image")
    topics = ["segmentation/mask", "segmentation/uncertainty"]
    running.connect(image, *(running.peer.listen(Image, topic) for topic in topics))
    image.publish(rgb_image(1))
    for topic, value in zip(topics, (255, 9), strict=True):  # the confidence is 200 of 255
        output = running.peer.wait_for_stamp(topic, rgb_image(1))
        assert (output.height, output.width, output.step) == (8, 12, 12)
        assert set(output.data) == {value}
    # a class that is just as probable as asked for stays
    for number, threshold, value in ((2, 200 / 255, 2), (3, 200.5 / 255, 255)):
        assert running.peer.set_parameter("ignore_below_confidence", threshold).successful
        image.publish(rgb_image(number))
        output = running.peer.wait_for_stamp("segmentation/mask", rgb_image(number))
        assert set(output.data) == {value}


def test_a_png_mask_has_the_topic_of_image_transport(start: Callable[..., Running]) -> None:
    running = start(mask_format="png")
    image = running.peer.publisher(Image, "image")
    topic = "segmentation/mask/compressed"
    running.connect(image, running.peer.listen(CompressedImage, topic))
    image.publish(rgb_image(4))
    mask = running.peer.wait_for_stamp(topic, rgb_image(4))
    assert mask.format.startswith("mono8; png")


def test_a_model_that_fails_to_load_leaves_the_old_one_working(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[Any] = []  # by label_info, of which the messages are not always installed
    monkeypatch.setattr(node.node._reports, "publish_label_info", named.append)
    node.error = ValueError("truncated")
    answer = node.peer.reload_model()
    assert not answer.success
    assert "truncated" in answer.message
    node.image.publish(rgb_image(1))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(1))
    node.error = None
    assert named == []
    assert node.peer.reload_model().success
    assert named == [node.node._models.current]
    wait_until(lambda: node.segmenters[0].closed, "the old model freed")
    node.image.publish(rgb_image(2))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(2))
    assert node.segmenter.started == [2]


def test_it_can_be_disabled_and_enabled(node: Running) -> None:
    call = node.peer._call_again
    answer = call(SetBool, "segmenter/set_enabled", SetBool.Request(data=False))
    assert (answer.success, answer.message) == (True, "disabled")
    wait_until(lambda: node.image.get_subscription_count() == 0, "the end of the subscription")
    assert node.peer.state() == "active"
    answer = call(SetBool, "segmenter/set_enabled", SetBool.Request(data=True))
    assert (answer.success, answer.message) == (True, "enabled")
    node.connect(node.image)
    node.image.publish(rgb_image(3))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(3))
