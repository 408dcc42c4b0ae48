"""The node as users run it: its own process, a real model, real DDS."""

from __future__ import annotations

import array
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_peer import TIMEOUT, RosPeer, rgb_image, wait_until
from segmenter_process import HEIGHT, WIDTH, Camera, Process, at_the_front
from sensor_msgs.msg import Image

from camss_ros.model.camseg import CamSeg
from camss_ros.nodes.messages import label_info_type
from camss_ros.nodes.qos import LATCHED
from camss_ros.run_segmenter import main


@pytest.fixture(scope="module")
def camera(spawn: Callable[..., Process], model: Path, module_domain_id: int) -> Iterator[Camera]:
    with at_the_front(spawn, module_domain_id, model) as (process, peer):
        yield Camera(peer, process)
    assert process.end(signal.SIGTERM) < process.end_limit
    assert process.process.returncode == 0


def encoded(camera: Camera, encoding: str, channels: int) -> Image:
    """A grey ramp; what the bytes mean does not matter here."""
    image = camera.next_image()
    image.encoding, image.step = encoding, WIDTH * channels
    image.data = array.array("B", bytes(i % 251 for i in range(HEIGHT * image.step)))
    return image


@pytest.mark.parametrize(
    ("encoding", "channels"),
    [
        ("rgb8", 3),
        ("bgra8", 4),
        ("uyvy", 2),
    ],
)
def test_an_encoding_is_segmented(
    camera: Camera, tiny_model: CamSeg, encoding: str, channels: int
) -> None:
    image = encoded(camera, encoding, channels)
    mask = camera.segment(image)
    assert (mask.header.stamp, mask.header.frame_id) == (image.header.stamp, image.header.frame_id)
    assert (mask.encoding, mask.height, mask.width) == ("mono8", HEIGHT, WIDTH)
    assert mask.step == mask.width
    assert set(mask.data) <= {c.id for c in tiny_model.config.label_set}
    confidence = camera.peer.wait_for_stamp("segmentation/confidence", image)
    assert (confidence.height, confidence.width, confidence.encoding) == (HEIGHT, WIDTH, "mono8")
    info = camera.peer.wait_for_stamp("segmentation/camera_info", image)
    assert (info.height, info.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("encoding 'rainbow9' is not supported", {"encoding": "rainbow9"}),
        ("image is empty", {"height": 0, "width": 0, "step": 0, "data": array.array("B")}),
    ],
)
def test_a_bad_image_is_refused_and_the_next_one_segmented(
    camera: Camera, reason: str, change: dict[str, Any]
) -> None:
    before = camera.settled()
    for _ in range(2):
        bad = camera.next_image()
        for name, value in change.items():
            setattr(bad, name, value)
        camera.image.publish(bad)
        count = camera.status(lambda s, last=before.rejected: s.rejected > last).rejected
        before.rejected += 1
        assert count == before.rejected
    good = camera.next_image()
    camera.segment(good)
    camera.process.wait_for_log(reason)
    assert camera.process.log.count(reason) == 1  # one warning for both


def test_every_image_is_accounted_for(camera: Camera) -> None:
    before = camera.settled()
    images = [camera.next_image() for _ in range(20)]
    for image in images:
        camera.image.publish(image)
    last = camera.peer.wait_for_stamp("segmentation/mask", images[-1])
    assert last.header.frame_id == images[-1].header.frame_id
    after = camera.status(lambda s: s.header == images[-1].header)
    # Best effort may lose images on the way, but the node knows what became of each it got.
    assert before.received < after.received <= before.received + len(images)
    assert after.received == after.segmented + after.dropped + after.rejected + after.failed
    stamps = [m.header.stamp.sec for m in camera.peer.received["segmentation/mask"]]
    assert stamps == sorted(stamps)


def test_the_status_tells_model_sampling_and_times(camera: Camera) -> None:
    result = camera.peer.set_parameter("steps", 3)
    assert result.successful, result.reason
    image = camera.next_image()
    camera.segment(image)
    status = camera.status(lambda s: s.header == image.header)
    assert (status.model, status.device) == ("test", "cpu")
    assert (status.steps, status.sampler, status.samples) == (3, "ddim", 1)
    stages = ("preprocess", "tokens", "transformer", "sampling", "decode", "postprocess")
    times = [getattr(status, stage) for stage in stages]
    assert min(times) > 0
    assert sum(times) == pytest.approx(status.total, rel=0.2, abs=0.01)


def test_a_late_subscriber_gets_status_and_class_names(
    camera: Camera, tiny_model: CamSeg, module_domain_id: int
) -> None:
    from camss_ros.msg import SegmenterStatus

    camera.segment(camera.next_image())
    late = RosPeer(module_domain_id, namespace="/front")
    try:
        late.listen(SegmenterStatus, "segmentation/status", LATCHED)
        assert late.wait_for("segmentation/status").segmented > 0
        label_info = label_info_type()
        if label_info is None:
            assert camera.process.log.count("vision_msgs is not installed") == 1
        else:
            late.listen(label_info, "segmentation/label_info", LATCHED)
            names = late.wait_for("segmentation/label_info").class_map
            expected = [(c.id, c.name) for c in tiny_model.config.label_set]
            assert [(c.class_id, c.class_name) for c in names] == expected
    finally:
        late.close()


def test_the_overlay_shows_the_class_colours(camera: Camera) -> None:
    camera.peer.listen(Image, "segmentation/overlay")

    def overlay() -> Image | None:
        camera.segment(camera.next_image())
        pictures = camera.peer.received["segmentation/overlay"]
        return pictures[-1] if pictures else None

    picture = wait_until(overlay, "an overlay")
    assert (picture.encoding, picture.height, picture.width) == ("rgb8", HEIGHT, WIDTH)
    assert picture.step == 3 * WIDTH


def test_the_mask_is_there_in_its_colours(camera: Camera, tiny_model: CamSeg) -> None:
    camera.peer.listen(Image, "segmentation/mask_color")
    pictures = camera.peer.received["segmentation/mask_color"]
    mask = camera.segment(camera.next_image())

    def picture_of_mask() -> Image | None:
        nonlocal mask
        if not pictures:
            mask = camera.segment(camera.next_image())
        return next((p for p in pictures if p.header == mask.header), None)

    picture = wait_until(picture_of_mask, "the mask in colours")
    assert (picture.encoding, picture.step) == ("rgb8", 3 * WIDTH)
    labels = np.frombuffer(mask.data, np.uint8)
    pixels = np.frombuffer(picture.data, np.uint8).reshape(-1, 3)
    for label_class in tiny_model.config.label_set:
        assert (pixels[labels == label_class.id] == label_class.color).all()


def test_the_size_in_the_network_is_that_of_the_parameter(camera: Camera) -> None:
    def reload(width: int, height: int) -> Any:
        assert camera.peer.set_parameter("network_size", [width, height]).successful
        return camera.peer.reload_model()

    def size_in_use() -> tuple[int, int]:
        image = camera.next_image()
        assert camera.segment(image).width == WIDTH
        status = camera.status(lambda s: s.header.stamp == image.header.stamp)
        return status.network_width, status.network_height

    try:
        assert reload(32, 16).success
        assert size_in_use() == (32, 16)
        refused = camera.peer.set_parameter("network_size", [30, 16])
        assert not refused.successful
        assert "multiples of 16" in refused.reason
        assert size_in_use() == (32, 16)
    finally:
        assert reload(0, 0).success
    assert size_in_use() == (48, 32)


def test_a_signal_ends_it_in_the_middle_of_an_image(
    spawn: Callable[..., Process], model: Path, module_domain_id: int
) -> None:
    from camss_ros.msg import SegmenterStatus

    # So many steps that the node is busy with an image for seconds.
    process = spawn("-r", "__ns:=/busy", model=model, device="cpu", steps=1000, samples=64)
    peer = RosPeer(module_domain_id, namespace="/busy")
    try:
        image = peer.publisher(Image, "image")
        peer.listen(SegmenterStatus, "segmentation/status", LATCHED)

        def in_work() -> bool:
            image.publish(rgb_image(1, HEIGHT, WIDTH))
            time.sleep(0.2)
            return any(
                s.received > s.segmented + s.dropped for s in peer.received["segmentation/status"]
            )

        wait_until(in_work, f"an image in work; log: {process.log}")
        assert process.end(signal.SIGINT) < process.end_limit
        assert process.process.returncode == 0
        assert "Traceback" not in process.log
    finally:
        peer.close()


def test_a_signal_ends_it_while_the_model_loads(spawn: Callable[..., Process], model: Path) -> None:
    process = spawn("--log-level", "debug", model=model)
    process.wait_for_log("segmenter")
    assert process.end(signal.SIGINT) < process.end_limit
    assert process.process.returncode == 0, process.log


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("steps:=0", "steps"),
        ("steps:=many", "steps"),
        ("sampler:=magic", "one of ddim"),
        ("output_size:=[]", "output_size must be 2 numbers"),  # has no type in ROS
    ],
)
def test_a_bad_parameter_at_start_ends_it_with_the_reason(
    refused: Callable[..., str], parameter: str, reason: str
) -> None:
    assert reason in refused(main, "-p", parameter)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-r", "__ns:=bad-namespace"], "such as -r image:="),
        (["--params-file", "nowhere.yaml"], "ros__parameters"),
        (["--params-file", "broken.yaml"], "ros__parameters"),
        (["--params-file", "mixed.yaml"], "[1.4, 2.0], not [1.4, 2]"),
        (["-p", "steps=2"], "such as -p steps:=2"),
        (["--remapp", "a:=b"], "unknown ROS arguments"),
    ],
)
def test_a_bad_ros_argument_ends_it_with_the_reason(
    refused: Callable[..., str],
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text("segmenter: [ros__parameters")
    Path("mixed.yaml").write_text("/**: {ros__parameters: {mount: [1.4, 2]}}")
    told = refused(main, *arguments)
    assert reason in told
    assert arguments[1] in told


def test_a_bad_topic_ends_the_process_with_the_reason(spawn: Callable[..., Process]) -> None:
    process = spawn("-r", "image:=bad topic")
    assert process.process.wait(TIMEOUT) == 1
    process.wait_for_log("such as -r image:=")
    assert "image:=bad topic" in process.log
    assert "Traceback" not in process.log


def test_a_model_that_is_not_there_is_named(spawn: Callable[..., Process], tmp_path: Path) -> None:
    process = spawn(model=tmp_path / "nowhere")
    process.wait_for_log("nowhere")
    assert "cannot load model" in process.log
    assert process.end(signal.SIGINT) < process.end_limit
    assert process.process.returncode == 0


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        (("image", "camera_info"), "cannot activate: "),
        (("segmentation/mask", "segmentation/camera_info"), "cannot configure: "),
    ],
)
def test_two_topics_of_one_name_are_told(
    spawn: Callable[..., Process],
    model: Path,
    module_domain_id: int,
    topics: tuple[str, ...],
    said: str,
) -> None:
    remaps = [part for topic in topics for part in ("-r", f"{topic}:=/one")]
    process = spawn(*remaps, model=model)
    process.wait_for_log(said)
    assert "/one" in process.log
    with closing(RosPeer(module_domain_id)) as peer:
        assert peer.state() == "unconfigured"
        # of those that could be made none is left: an image would end the process
        assert peer.node.count_subscribers("/one") == 0
        assert peer.node.count_publishers("/segmentation/confidence") == 0
    assert process.end(signal.SIGINT) < process.end_limit
    assert process.process.returncode == 0
