"""The node `video_publisher`, run as a process of its own, heard over DDS."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

TIMEOUT = 60.0  # s; a loaded machine takes seconds to start a process
DOMAIN = 101 + os.getpid() % 90


@contextlib.contextmanager
def publisher(**parameters: Any) -> Iterator[subprocess.Popen[str]]:
    """The node as a process; killed at the end if it still runs."""
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    process = subprocess.Popen(
        [sys.executable, "-m", "camss_ros.nodes.video_publisher", "--ros-args", *arguments],
        env={
            **os.environ,
            "ROS_DOMAIN_ID": str(DOMAIN),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Listener:
    """Collects the messages of some topics."""

    def __init__(self, **types: type) -> None:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.context = Context()
        self.context.init(domain_id=DOMAIN)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.messages: dict[str, list[Any]] = {name: [] for name in types}
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for name, kind in types.items():
            self.node.create_subscription(
                kind,
                name.replace("__", "/"),
                self.messages[name].append,
                latched if kind is Header else qos_profile_sensor_data,
            )

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end, {k: len(v) for k, v in self.messages.items()}
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    listeners: list[Listener] = []

    def start(**types: type) -> Listener:
        listeners.append(Listener(**types))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images, each of one grey level: 0, 50 ... 200, 40 x 60 pixels."""
    for index in range(5):
        image = np.full((40, 60, 3), 50 * index, np.uint8)
        cv2.imwrite(str(tmp_path / f"picture{index}.png"), image)
    return tmp_path


def nanoseconds(header: Header) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def test_frames_arrive_in_order_with_camera_info_and_name(
    folder: Path, listen: Callable[..., Listener]
) -> None:
    listener = listen(image=Image, camera_info=CameraInfo, source_frame=Header)
    received = listener.messages
    parameters = {"path": folder, "rate": 5.0, "frame_id": "front", "horizontal_fov": 90.0}
    before = time.time_ns()
    with publisher(**parameters, wait_for_subscriber=True) as process:
        listener.wait(lambda: process.poll() is not None)
    assert process.returncode == 0
    after = time.time_ns()

    # Reliable, so complete; images are best effort and may get lost on a busy machine.
    assert [h.frame_id for h in received["source_frame"]] == [f"picture{i}" for i in range(5)]
    stamps = [nanoseconds(header) for header in received["source_frame"]]
    assert before < stamps[0] < stamps[-1] < after
    assert (stamps[-1] - stamps[0]) / 1e9 >= 0.75, "5 frames at 5 Hz"

    assert len(received["image"]) >= 2
    for image in received["image"]:
        index = stamps.index(nanoseconds(image.header))
        assert (image.height, image.width, image.step) == (40, 60, 180)
        assert (image.encoding, image.header.frame_id) == ("rgb8", "front")
        assert np.all(np.frombuffer(image.data, np.uint8) == 50 * index)

    assert len(received["camera_info"]) >= 2
    for info in received["camera_info"]:
        assert nanoseconds(info.header) in stamps
        assert (info.height, info.width, info.header.frame_id) == (40, 60, "front")
        # 90 degrees: as far away as half the width.
        assert info.k.tolist() == pytest.approx([30, 0, 29.5, 0, 30, 19.5, 0, 0, 1])
        assert info.p.reshape(3, 4)[:, :3].ravel().tolist() == pytest.approx(info.k.tolist())


def test_compressed_frames_are_jpeg(folder: Path, listen: Callable[..., Listener]) -> None:
    listener = listen(image__compressed=CompressedImage)
    parameters = {"path": folder / "picture3.png", "image_transport": "compressed", "rate": 20.0}
    with publisher(**parameters, loop=True, wait_for_subscriber=True):
        listener.wait(lambda: bool(listener.messages["image__compressed"]))
    message = listener.messages["image__compressed"][0]
    assert message.format == "jpeg"
    image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - 150).max() <= 3


def test_it_waits_for_a_subscriber_loops_and_ends_on_sigint(
    folder: Path, listen: Callable[..., Listener]
) -> None:
    names = listen(source_frame=Header)  # not the image: nothing may be sent for it
    with publisher(path=folder, rate=50.0, loop=True, wait_for_subscriber=True) as process:
        names.wait(lambda: names.node.count_publishers("source_frame") > 0)
        deadline = time.monotonic() + 1
        names.wait(lambda: time.monotonic() > deadline)
        assert names.messages["source_frame"] == []

        images = listen(image=Image)
        images.wait(lambda: len(images.messages["image"]) >= 8)
        names.wait(lambda: len(names.messages["source_frame"]) >= 8)
        expected = [f"picture{i % 5}" for i in range(8)]
        assert [h.frame_id for h in names.messages["source_frame"][:8]] == expected

        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert "Traceback" not in output


def test_it_ends_after_the_frames_asked_for(folder: Path, listen: Callable[..., Listener]) -> None:
    listener = listen(source_frame=Header)
    with publisher(path=folder, rate=50.0, frames=7, loop=True) as process:
        listener.wait(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert len(listener.messages["source_frame"]) == 7


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "'path' is empty"),
        ({"path": "/nowhere/drive.mp4"}, "/nowhere/drive.mp4"),
        ({"path": "synthetic", "image_transport": "theora"}, "theora"),
        ({"path": "synthetic", "rate": -1.0}, "rate"),
    ],
)
def test_bad_parameters_end_it_with_a_reason(parameters: dict[str, Any], message: str) -> None:
    with publisher(**parameters) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert message in output
    assert "Traceback" not in output
