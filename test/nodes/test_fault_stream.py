"""What cameras, subscribers and the machine do to a running node, over DDS."""

from __future__ import annotations

import array
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fault_scale import RECOVERY, scaled
from fuzzed_messages import any_camera_info, any_image
from harmful_pickle import Touch
from hypothesis import HealthCheck, given, settings
from ros_peer import RosPeer, rgb_image, wait_until
from segmenter_process import HEIGHT, WIDTH, Camera, Process, at_the_front
from sensor_msgs.msg import CameraInfo, Image

from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import save_pretrained
from camss_ros.model.config import CamSegConfig
from camss_ros.nodes.messages import to_image_message

WARN_NO_IMAGE = 1.0  # s


@pytest.fixture(scope="module")
def camera(spawn: Callable[..., Process], model: Path, module_domain_id: int) -> Iterator[Camera]:
    with at_the_front(spawn, module_domain_id, model, warn_no_image=WARN_NO_IMAGE) as front:
        process, peer = front
        yield Camera(peer, process)
    process.end(signal.SIGTERM)
    assert process.process.returncode == 0
    assert "Traceback" not in process.log


@pytest.fixture(autouse=True)
def lives_on(camera: Camera) -> Iterator[None]:
    """After each fault the node is there, and segments a good image in time."""
    yield
    assert camera.process.process.poll() is None, camera.process.log
    recover(camera)


def recover(camera: Camera) -> None:
    camera.settled()
    image = camera.next_image()
    start = time.monotonic()
    camera.segment(image)
    assert time.monotonic() - start < RECOVERY


def segmented_with_size(camera: Camera, image: Image) -> None:
    mask = camera.segment(image)
    assert (mask.height, mask.width, len(mask.data)) == (
        image.height,
        image.width,
        image.height * image.width,
    )


def test_the_camera_stops_and_returns(camera: Camera) -> None:
    silent, returned = "no image for", "images arrive again"

    def told() -> list[str]:
        return re.findall(f"{silent}|{returned}", camera.process.log)

    for _ in range(scaled(1, 5)):
        camera.peer.node.destroy_publisher(camera.image)
        wait_until(lambda: told()[-1:] == [silent], "a warning")
        time.sleep(scaled(1, 15))
        camera.image = camera.peer.publisher(Image, "image")
        wait_until(lambda: camera.image.get_subscription_count() > 0, "the node")
        # The node may learn of the publisher later than the publisher of it.
        wait_until(lambda: _answered(camera), "an answer to the new publisher")
        wait_until(lambda: told()[-1:] == [returned], returned)
    # Once of each silence; where the machine is busy, there may be more of them.
    assert all(one != other for one, other in pairwise(told()))


def _answered(camera: Camera) -> bool:
    image = camera.next_image()
    camera.image.publish(image)
    time.sleep(0.05)
    return any(m.header == image.header for m in camera.peer.received["segmentation/mask"])


def test_two_publishers_on_one_topic(camera: Camera, module_domain_id: int) -> None:
    other = RosPeer(module_domain_id, namespace="/front")
    try:
        second = other.publisher(Image, "image")
        other.connect(second)
        wait_until(lambda: _heard(camera, second), "the second publisher heard")
        before = camera.settled()
        for number in range(scaled(10, 500)):
            # of another size and encoding, with stamps of its own
            grey = to_image_message(
                np.full((24, 36), number % 256, np.uint8),
                "mono8",
                rgb_image(-1_000_000 + number).header,
            )
            second.publish(grey)
            segmented_with_size(camera, camera.next_image())
        after = camera.settled()
        assert after.failed == before.failed
        assert after.rejected == before.rejected
    finally:
        other.close()


def _heard(camera: Camera, publisher: Any) -> bool:
    image = rgb_image(-2_000_000)
    publisher.publish(image)
    time.sleep(0.05)
    return any(m.header == image.header for m in camera.peer.received["segmentation/mask"])


def test_size_and_encoding_change_in_mid_stream(camera: Camera) -> None:
    before = camera.settled()
    rng = np.random.default_rng(0)
    channels = {"rgb8": 3, "mono8": 1, "bgra8": 4, "bayer_grbg8": 1, "uyvy": 2, "rgb16": 6}
    for number in range(scaled(12, 300)):
        encoding = list(channels)[number % len(channels)]
        height, width = (2 * int(rng.integers(1, 90)) for _ in range(2))
        image = camera.next_image()
        image.height, image.width, image.encoding = height, width, encoding
        image.step = width * channels[encoding] + 8 * (number % 2)
        image.data = array.array("B", rng.bytes(height * image.step))
        segmented_with_size(camera, image)
    after = camera.settled()
    assert (after.failed, after.rejected) == (before.failed, before.rejected)


@pytest.mark.parametrize(
    "stamps",
    [
        [(100, 0), (99, 5), (50, 1), (98, 999_999_999)],  # backwards
        [(200, 7)] * 4,  # repeated
        [(0, 0)] * 3,  # a driver without stamps
        [(-(2**31), 0), (2**31 - 1, 2**32 - 1), (-1, 1)],  # all that fits
    ],
)
def test_stamps_come_back_as_they_are(camera: Camera, stamps: list[tuple[int, int]]) -> None:
    masks = camera.peer.received["segmentation/mask"]
    before = camera.settled()
    for _ in range(scaled(1, 20)):
        for seconds, nanoseconds in stamps:
            image = camera.next_image()
            image.header.stamp.sec, image.header.stamp.nanosec = seconds, nanoseconds
            count = len(masks)
            camera.image.publish(image)
            wait_until(lambda: len(masks) > count, "a mask")  # noqa: B023
            assert masks[-1].header == image.header
    after = camera.settled()
    assert (after.failed, after.rejected) == (before.failed, before.rejected)


def test_fuzzed_messages_over_dds(camera: Camera) -> None:
    before = camera.settled()
    log = len(camera.process.log)

    @settings(
        max_examples=scaled(100, 2000), database=None, suppress_health_check=list(HealthCheck)
    )
    @given(any_image(), any_camera_info())
    def send(image: Image, info: CameraInfo) -> None:
        camera.info.publish(info)
        camera.image.publish(image)

    try:
        start = time.monotonic()
        send()
        # Best effort may lose images on the way.
        after = camera.settled(before.received + 1)
        assert after.failed == before.failed, camera.process.log[log:]
        periods = 1 + (time.monotonic() - start) // 10
        for reason in ("encoding", "is empty", "step is", "data is truncated", "calibration"):
            lines = [line for line in camera.process.log[log:].splitlines() if reason in line]
            assert len(lines) <= periods, lines
    finally:
        camera.info.publish(CameraInfo(height=HEIGHT, width=WIDTH))


NEVER_READS = """
import os, signal, rclpy
from rclpy.qos import HistoryPolicy, QoSProfile
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("idle", namespace="/front")
keep_all = QoSProfile(history=HistoryPolicy.KEEP_ALL, depth=0)
for name in ("mask", "confidence", "overlay", "uncertainty"):
    node.create_subscription(Image, f"segmentation/{name}", lambda _: None, keep_all)
rclpy.spin_once(node, timeout_sec=1.0)
print("subscribed", flush=True)
if STOPPED:
    os.kill(os.getpid(), signal.SIGSTOP)
signal.pause()
"""


# s, that Fast DDS may wait before it opens a port in shared memory: `healthy_check_timeout_ms`, by
# default 1000, in steps of a third of it.
HEALTH_CHECK = 1.4


@pytest.mark.parametrize("stopped", [False, True], ids=["idle", "stopped"])
def test_a_subscriber_that_never_reads(
    camera: Camera, module_domain_id: int, stopped: bool
) -> None:
    """Reliable and keeping everything; the stopped one does not even acknowledge.

    Seldom, Fast DDS asks the stopped one whether it is still there, and waits for the answer.
    """
    overlay = "/front/segmentation/overlay"
    idle = subprocess.Popen(
        [sys.executable, "-c", NEVER_READS.replace("STOPPED", str(stopped))],
        env={**os.environ, "ROS_DOMAIN_ID": str(module_domain_id)},
        stdout=subprocess.PIPE,
    )
    try:
        assert idle.stdout is not None
        assert b"subscribed" in idle.stdout.readline()
        wait_until(lambda: camera.peer.node.count_subscribers(overlay), "the subscriber")
        late = []
        for number in range(scaled(30, 3000)):
            image = camera.next_image()
            start = time.monotonic()
            camera.segment(image)
            took = time.monotonic() - start
            if took >= RECOVERY:
                late.append((number, took))
        assert len(late) <= stopped, late
        assert all(took < RECOVERY + HEALTH_CHECK for _, took in late), late
    finally:
        idle.kill()
        idle.wait()
        idle.stdout.close()


@contextmanager
def starved(pid: int, share: float = 0.2, period: float = 0.1) -> Iterator[None]:
    """Let a process run for a share of the time only.

    It is stopped and continued by signals, as cpulimit does, which needs neither privileges nor
    the cgroups that differ from machine to machine.
    """
    over = threading.Event()

    def pulse() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait((1 - share) * period)
            os.kill(pid, signal.SIGCONT)
            time.sleep(share * period)

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_fifth_of_a_processor(camera: Camera) -> None:
    before = camera.settled()
    with starved(camera.process.process.pid):
        end = time.monotonic() + scaled(3, 60)
        while time.monotonic() < end:
            camera.image.publish(camera.next_image())
            time.sleep(0.1)
        during = camera.status(lambda s: s.segmented > before.segmented)
    after = camera.settled()
    assert during.segmented > before.segmented
    assert after.failed == before.failed
    # Nothing is queued up: what was late is dropped.
    assert after.received == after.segmented + after.dropped + after.rejected + after.failed


def truncated(directory: Path, config: CamSegConfig) -> str:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return "cannot be read"


def truncated_header(directory: Path, config: CamSegConfig) -> str:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    return "cannot be read"


def empty(directory: Path, config: CamSegConfig) -> str:
    (directory / "model.safetensors").write_bytes(b"")
    return "cannot be read"


def half_a_config(directory: Path, config: CamSegConfig) -> str:
    path = directory / "config.json"
    path.write_text(path.read_text()[:200])
    return "config.json"


def of_another_config(directory: Path, config: CamSegConfig) -> str:
    path = directory / "config.json"
    text = path.read_text()
    assert '"width": 32' in text
    path.write_text(text.replace('"width": 32', '"width": 64'))
    return "do not fit its config"


def pickled(directory: Path, config: CamSegConfig) -> str:
    torch.save({"weights": Touch(directory / "touched")}, directory / "model.safetensors")
    return "cannot be read"


@pytest.mark.parametrize(
    "damage", [truncated, truncated_header, empty, half_a_config, of_another_config, pickled]
)
def test_a_damaged_model_leaves_the_old_one_working(
    camera: Camera,
    model: Path,
    tiny_model: CamSeg,
    tmp_path: Path,
    damage: Callable[[Path, CamSegConfig], str],
) -> None:
    save_pretrained(tiny_model, tmp_path)
    reason = damage(tmp_path, tiny_model.config)
    log = len(camera.process.log)
    assert camera.peer.set_parameter("model", str(tmp_path)).successful
    try:
        answer = camera.peer.reload_model()
        assert not answer.success
        assert reason in answer.message
        assert str(tmp_path) in answer.message

        def lines() -> list[str]:
            whole = camera.process.log[log:].splitlines(keepends=True)
            return [line for line in whole if reason in line and line.endswith("\n")]

        # The answer may come before the log does.
        wait_until(lines, f"{reason!r} in the log")
        assert len(lines()) == 1
        assert len(lines()[0]) < 2000
        assert not (tmp_path / "touched").exists()
    finally:
        assert camera.peer.set_parameter("model", str(model)).successful
