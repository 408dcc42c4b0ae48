"""Several cameras in one node: together where they can be, and none at the cost of another."""

from __future__ import annotations

import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import scripted_node
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_peer import RosPeer, captured_log, rgb_image, wait_until
from scripted_node import Running
from sensor_msgs.msg import CameraInfo, Image

from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import save_pretrained
from camss_ros.nodes.camera_names import camera_names
from camss_ros.nodes.qos import LATCHED
from camss_ros.nodes.segmenter.parameters import SPECS


class Rig:
    """A node with cameras, and who publishes their images and listens to their masks."""

    def __init__(self, start: Callable[..., Running], names: Sequence[str], **parameters: Any):
        self.running = start(cameras=list(names), **parameters)
        self.peer: RosPeer = self.running.peer
        self._images = {name: self.peer.publisher(Image, f"{name}/image") for name in names}
        masks = [self.peer.listen(Image, f"{name}/segmentation/mask") for name in names]
        self.running.connect(*self._images.values(), *masks)

    @property
    def segmenter(self) -> Any:
        return self.running.segmenter

    def send(self, camera: str, number: int, **changes: Any) -> Image:
        image = rgb_image(number)
        for name, value in changes.items():
            setattr(image, name, value)
        self._images[camera].publish(image)
        return image

    def hold(self, camera: str, number: int) -> None:
        """Send an image that stays in work until `segmenter.go` is set."""
        started = len(self.segmenter.started)
        self.segmenter.go.clear()
        self.send(camera, number)
        wait_until(lambda: len(self.segmenter.started) > started, "an image in work")

    def received(self, camera: str, count: int) -> None:
        """Wait until the node has got images."""
        (found,) = (c for c in self.running.node.cameras if c.name == camera)
        wait_until(lambda: found.counter.snapshot().received == count, f"{count} of {camera}")

    def mask(self, camera: str, number: int) -> Image:
        mask = self.peer.wait_for_stamp(f"{camera}/segmentation/mask", rgb_image(number))
        assert set(mask.data) == {number}
        return mask

    def status(self, camera: str, condition: Callable[[Any], bool]) -> Any:
        from camss_ros.msg import SegmenterStatus

        topic = f"{camera}/segmentation/status"
        if topic not in self.peer.received:
            self.peer.listen(SegmenterStatus, topic, LATCHED)
        return self.peer.wait_for(topic, condition)


def test_cameras_that_wait_are_segmented_together_each_with_its_own_header(
    start: Callable[..., Running],
) -> None:
    rig = Rig(start, ["front", "left", "rig/right"])
    assert rig.segmenter.expected_batch == 3
    infos = rig.peer.publisher(CameraInfo, "left/camera_info")
    rig.running.connect(infos, rig.peer.listen(CameraInfo, "left/segmentation/camera_info"))
    infos.publish(CameraInfo(height=32, width=48))
    wait_until(lambda: rig.running.node.cameras[1].infos, "the calibration received")
    rig.hold("front", 1)
    for number in range(2, 6):  # a fast camera takes no turn of a slow one
        rig.send("front", number)
    rig.send("left", 7)
    rig.send("rig/right", 9)
    for camera, count in (("front", 5), ("left", 1), ("rig/right", 1)):
        rig.received(camera, count)
    rig.segmenter.go.set()
    for camera, number in (("front", 5), ("left", 7), ("rig/right", 9)):
        assert rig.mask(camera, number).header.frame_id == f"camera {number}"
    assert rig.segmenter.batches == [{"front"}, {"front", "left", "rig/right"}]
    info = rig.peer.wait_for_stamp("left/segmentation/camera_info", rgb_image(7))
    assert (info.height, info.width, info.header.frame_id) == (32, 48, "camera 7")

    front = rig.status("front", lambda s: s.segmented == 2)
    assert (front.camera, front.received, front.dropped) == ("front", 5, 3)
    left = rig.status("left", lambda s: s.segmented == 1)
    assert (left.camera, left.received, left.dropped) == ("left", 1, 0)
    named = (left.header.frame_id, left.model, left.device, left.backend)
    assert named == ("camera 7", "scripted", "cpu", "scripted")


def test_a_dead_a_slow_and_a_broken_camera_hold_up_none(start: Callable[..., Running]) -> None:
    names = ["front", "dead", "slow", "broken"]
    rig = Rig(start, names, warn_no_image=1.0, error_no_image=0.0, warn_unusable=0.01)
    rig.send("dead", 1)
    rig.mask("dead", 1)
    for number in range(1, 7):  # each waits for its mask: nobody else is waited for
        rig.send("front", number)
        rig.send("broken", number, encoding="rainbow9")
        if number % 3 == 0:
            rig.send("slow", number)
            rig.mask("slow", number)
        rig.mask("front", number)
    for camera, count in {"front": 6, "dead": 1, "slow": 2}.items():
        assert rig.status(camera, lambda s, count=count: s.segmented == count).rejected == 0
    assert rig.status("broken", lambda s: s.rejected == 6).segmented == 0

    rig.peer.listen(DiagnosticArray, "/diagnostics")

    def about(message: DiagnosticArray) -> dict[str, DiagnosticStatus]:
        return {status.hardware_id: status for status in message.status}

    rig.send("broken", 7, encoding="rainbow9")
    found = rig.peer.wait_for(
        "/diagnostics",
        lambda m: (
            {v.key: v.value for v in about(m)["broken"].values}["rejected"] == "7"
            and "no image" in about(m)["dead"].message
        ),
    )
    assert list(about(found)) == names
    assert about(found)["dead"].name == "/segmenter: segmentation of dead"
    assert about(found)["dead"].level == b"\x01"
    assert {v.key: v.value for v in about(found)["broken"].values}["rejected: encoding"] == "7"
    segmented = [dict((v.key, v.value) for v in about(found)[n].values)["segmented"] for n in names]
    assert segmented == ["6", "1", "2", "0"]


@pytest.mark.usefixtures("capfd")
def test_a_frame_that_fails_takes_none_of_its_batch_with_it(start: Callable[..., Running]) -> None:
    rig = Rig(start, ["front", "left"])
    rig.segmenter.bad = {66}
    rig.hold("front", 1)
    rig.send("front", 66)
    rig.send("left", 7)
    rig.received("front", 2)
    rig.received("left", 1)
    rig.segmenter.go.set()
    rig.mask("left", 7)
    assert rig.status("front", lambda s: s.failed == 1).segmented == 1
    assert rig.status("left", lambda s: s.segmented == 1).failed == 0
    failure = "front: segmentation failed: RuntimeError: a bad frame"
    wait_until(lambda: failure in captured_log(), "the failure in the log, by the camera's name")
    rig.send("front", 2)
    rig.mask("front", 2)


def test_what_does_not_fit_together_is_segmented_one_by_one(start: Callable[..., Running]) -> None:
    rig = Rig(start, ["front", "left"])
    segmenter = rig.segmenter
    together = segmenter.segment_batch

    def segment_batch(requests: Any, **options: Any) -> Any:
        results = together(requests, **options)
        if len(requests) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return results

    segmenter.segment_batch = segment_batch
    assert rig.peer.set_parameter("samples", 4).successful
    for number in (2, 4):
        rig.hold("front", 1)
        rig.send("front", number)
        rig.send("left", number + 1)
        rig.received("front", number)
        rig.received("left", number // 2)
        segmenter.go.set()
        rig.mask("front", number)
        rig.mask("left", number + 1)
    assert [len(batch) for batch in segmenter.batches] == [1, 2, 1, 1, 1, 1, 1]
    assert rig.running.node._memory.measure == "one camera at a time"
    assert segmenter.sampling.samples == 4


def test_a_network_gives_every_camera_the_labels_of_its_own_image(
    start: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_model: CamSeg,
) -> None:
    """Images of different sizes, with a warm start that goes on from the camera's own frames."""
    save_pretrained(tiny_model, tmp_path)

    def open_segmenter() -> Segmenter:
        return Segmenter(tmp_path, device="cpu", precision="fp32")

    monkeypatch.setattr(scripted_node, "ScriptedSegmenter", open_segmenter)
    cameras = {"front": (40, 56), "left": (32, 48), "right": (70, 30)}
    rig = Rig(start, list(cameras), warm_start_time=300)
    alone = {camera: open_segmenter() for camera in cameras}
    for segmenter in alone.values():
        segmenter.sampling = rig.running.node.parameters.sampling()
    random = np.random.default_rng(0)
    scenes = {name: random.integers(0, 200, (*size, 3)) for name, size in cameras.items()}
    for number in (1, 2):
        sent = {}
        for camera, (height, width) in cameras.items():
            # the second picture is much like the first
            noise = random.integers(0, 10, (height, width, 3))
            sent[camera] = (scenes[camera] + noise).astype(np.uint8)
            data = array.array("B", sent[camera].tobytes())
            rig.send(camera, 1, height=height, width=width, step=3 * width, data=data)
        for camera, pixels in sent.items():
            topic = f"{camera}/segmentation/mask"
            wait_until(lambda t=topic, n=number: len(rig.peer.received[t]) == n, "the mask")
            mask = rig.peer.received[topic][-1]
            labels = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.width)
            expected = alone[camera].segment(pixels, stamp=1.0)
            assert labels.shape == cameras[camera]
            assert (labels == expected.labels).mean() > 0.999
            assert expected.warm == (number == 2)


@pytest.mark.parametrize("value", [[""], None])
def test_without_names_there_is_one_camera_with_the_plain_topics(
    start: Callable[..., Running], value: list[str] | None
) -> None:
    """None is what `cameras: []` in a parameter file becomes."""
    kind = rclpy.Parameter.Type.NOT_SET if value is None else rclpy.Parameter.Type.STRING_ARRAY
    running = start(cameras=rclpy.Parameter("cameras", kind, value))
    wait_until(lambda: running.node._state == "active", "the node active")
    assert [camera.name for camera in running.node.cameras] == [""]
    wanted = {"/image", "/camera_info", "/segmentation/mask", "/segmentation/status"}
    names = running.node.get_topic_names_and_types
    wait_until(lambda: wanted <= {name for name, _ in names()}, "the topics")
    result = running.peer.set_parameter("cameras", ["front"])
    assert not result.successful
    assert "read-only" in result.reason


def test_names_are_checked_and_stay(start: Callable[..., Running]) -> None:
    (spec,) = (spec for spec in SPECS if spec.name == "cameras")
    for names in (["front", "rig/left_2"], ["_a"], []):
        assert spec.problem(names) == ""
    assert camera_names(["", "front"]) == ("front",)
    for names, reason in (
        (["front", "front"], "differ"),
        (["/front"], "'/front'"),
        (["front/"], "'front/'"),
        (["front camera"], "'front camera'"),
        (["2nd"], "'2nd'"),
        (["a__b"], "'a__b'"),
    ):
        assert reason in spec.problem(names)
    running = start(autostart=False, cameras=["front"])
    result = running.peer.set_parameter("cameras", ["left"])
    assert not result.successful
    assert "read-only" in result.reason
