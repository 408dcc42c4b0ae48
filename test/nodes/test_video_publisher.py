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
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_peer import TIMEOUT, RosPeer, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.nodes.harness.video_publisher import main
from camss_ros.projection.depth_cloud import depth_in_metres
from camss_ros.street.synthetic import SyntheticStreet

# Keeps every header, whenever it was sent.
LATCHED = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Best effort, with room for all that come while this process has to wait for a processor.
IMAGES = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


@contextlib.contextmanager
def publisher(domain_id: int, **parameters: Any) -> Iterator[subprocess.Popen[str]]:
    """The node as a process; killed at the end if it still runs."""
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    process = subprocess.Popen(
        [sys.executable, "-m", "camss_ros.nodes.harness.video_publisher", "--ros-args", *arguments],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_script(*arguments: str) -> subprocess.Popen[str]:
    script = Path(__file__).resolve().parents[2] / "scripts" / "video_publisher"
    return subprocess.Popen(
        # Where a shell starts the tests in the background, SIGINT is ignored and inherited.
        ["env", "--default-signal=INT", sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def peer(domain_id: int) -> Iterator[RosPeer]:
    peer = RosPeer(domain_id)
    yield peer
    peer.close()


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
    folder: Path, peer: RosPeer, domain_id: int
) -> None:
    peer.listen(Header, "source_frame", LATCHED)
    peer.listen(Image, "image", IMAGES)
    peer.listen(CameraInfo, "camera_info", IMAGES)
    parameters = {"path": folder, "rate": 5.0, "frame_id": "front", "horizontal_fov": 90.0}
    before = time.time_ns()
    with publisher(domain_id, **parameters, wait_for_subscriber=True) as process:
        process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    after = time.time_ns()

    # Reliable, so complete; images are best effort and may get lost on a busy machine.
    names = wait_until(
        lambda: peer.received["source_frame"][4:] and peer.received["source_frame"], "5"
    )
    assert [header.frame_id for header in names] == [f"picture{i}" for i in range(5)]
    stamps = [nanoseconds(header) for header in names]
    assert before < stamps[0] < stamps[-1] < after
    assert (stamps[-1] - stamps[0]) / 1e9 >= 0.75, "5 frames at 5 Hz"

    wait_until(lambda: len(peer.received["image"]) >= 2, "2 images")
    for image in peer.received["image"]:
        index = stamps.index(nanoseconds(image.header))
        assert (image.height, image.width, image.step) == (40, 60, 180)
        assert (image.encoding, image.header.frame_id) == ("rgb8", "front")
        assert np.all(np.frombuffer(image.data, np.uint8) == 50 * index)

    wait_until(lambda: len(peer.received["camera_info"]) >= 2, "2 calibrations")
    for info in peer.received["camera_info"]:
        assert nanoseconds(info.header) in stamps
        assert (info.height, info.width, info.header.frame_id) == (40, 60, "front")
        # 90 degrees: as far away as half the width.
        assert info.k.tolist() == pytest.approx([30, 0, 29.5, 0, 30, 19.5, 0, 0, 1])
        assert info.p.tolist() == pytest.approx([30, 0, 29.5, 0, 0, 30, 19.5, 0, 0, 0, 1, 0])
        assert info.r.tolist() == np.eye(3).ravel().tolist()
        assert not any(info.d)


def test_compressed_frames_are_jpeg(folder: Path, peer: RosPeer, domain_id: int) -> None:
    peer.listen(CompressedImage, "image/compressed", IMAGES)
    parameters = {"path": folder / "picture3.png", "image_transport": "compressed", "rate": 20.0}
    with publisher(domain_id, **parameters, loop=True, wait_for_subscriber=True):
        message = peer.wait_for("image/compressed")
    assert message.format == "jpeg"
    image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - 150).max() <= 3


def test_it_waits_for_a_subscriber_loops_and_ends_on_sigint(
    folder: Path, peer: RosPeer, domain_id: int
) -> None:
    names = peer.listen(Header, "source_frame", LATCHED)  # not the image: nothing is sent for it
    parameters = {"path": folder, "rate": 50.0, "loop": True, "wait_for_subscriber": True}
    with publisher(domain_id, **parameters) as process:
        peer.connect(names)
        time.sleep(1.0)
        assert peer.received["source_frame"] == []

        peer.listen(Image, "image", IMAGES)
        headers = wait_until(
            lambda: peer.received["source_frame"][11:] and peer.received["source_frame"], "12"
        )
        assert [h.frame_id for h in headers[:12]] == [f"picture{i % 5}" for i in range(12)]
        peer.wait_for("image")

        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert "Traceback" not in output


def test_who_finds_the_names_only_after_the_last_frame_gets_them_all(
    folder: Path, peer: RosPeer, domain_id: int
) -> None:
    peer.listen(Image, "image", IMAGES)
    options = {"path": folder, "rate": 50.0, "frames": 7, "loop": True}
    with publisher(domain_id, **options, wait_for_subscriber=True) as process:
        peer.wait_for("image")
        time.sleep(1.5)  # 7 frames take 0.12 s
        peer.listen(Header, "source_frame", LATCHED)
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert "sent 7 frames" in output
    names = wait_until(
        lambda: peer.received["source_frame"][6:] and peer.received["source_frame"], "7 names"
    )
    assert [name.frame_id for name in names] == [f"picture{i % 5}" for i in range(7)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "'path' is empty"),
        (["path:=/nowhere/drive.mp4"], "/nowhere/drive.mp4"),
        (["path:=synthetic", "image_transport:=theora"], "theora"),
        (["path:=synthetic", "rate:=-1.0"], "rate"),
        (["path:=synthetic", "preload:=true"], "has no end"),
        (["path:=.", "depth:=true"], "knows no depth"),
    ],
)
def test_bad_parameters_end_it_with_a_reason(
    folder: Path,
    refused: Callable[..., str],
    parameters: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    given = [part for parameter in parameters for part in ("-p", parameter)]
    assert message in refused(main, *given)


@pytest.mark.parametrize(
    "arguments", [["-r", "__ns:=bad-namespace"], ["--params-file", "nowhere.yaml"]]
)
def test_bad_ros_arguments_end_it_with_a_reason(
    refused: Callable[..., str], arguments: list[str]
) -> None:
    told = refused(main, *arguments)
    assert arguments[1] in told
    assert "Expected" in told


def test_a_bad_topic_ends_the_process_with_the_reason() -> None:
    process = run_script("--ros-args", "-r", "image:=bad topic")
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "image:=bad topic" in output
    assert "Expected" in output
    assert "Traceback" not in output


def test_ctrl_c_while_it_starts_leaves_no_traceback() -> None:
    for delay in (0.0, 0.1, 0.3):
        process = run_script("--ros-args", "-p", "path:=synthetic")
        # Earlier the interpreter itself starts, of which no script decides.
        maps = Path(f"/proc/{process.pid}/maps")
        wait_until(lambda maps=maps: "numpy" in maps.read_text(), "it imports", TIMEOUT)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode in (0, -signal.SIGINT)
        assert "Traceback" not in output


def test_an_unknown_parameter_is_told(folder: Path, domain_id: int) -> None:
    with publisher(domain_id, path=folder, rate=100.0, frams=1) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert "unknown parameter 'frams' is ignored: did you mean 'frames'?" in output


def test_it_starts_without_the_network() -> None:
    program = (
        "import camss_ros.nodes.harness.video_publisher, sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0, "torch takes seconds"


def test_preloaded_frames_go_round_with_fresh_stamps(
    folder: Path, peer: RosPeer, domain_id: int
) -> None:
    peer.listen(Header, "source_frame", LATCHED)
    peer.listen(Image, "image", IMAGES)
    options = {"path": folder, "rate": 20.0, "frames": 12, "loop": True, "preload": True}
    with publisher(domain_id, **options, wait_for_subscriber=True) as process:
        process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    names = wait_until(
        lambda: peer.received["source_frame"][11:] and peer.received["source_frame"], "12 frames"
    )
    assert [name.frame_id for name in names] == [f"picture{i % 5}" for i in range(12)]
    stamps = [nanoseconds(name) for name in names]
    assert stamps == sorted(set(stamps))
    sent = {stamp: index for index, stamp in enumerate(stamps)}
    wait_until(lambda: len(peer.received["image"]) > 5, "6 images")
    for image in peer.received["image"]:
        assert image.data[0] == 50 * (sent[nanoseconds(image.header)] % 5)


def test_no_more_frames_are_preloaded_than_are_sent(folder: Path, domain_id: int) -> None:
    (folder / "picture1.png").write_bytes(b"")
    with publisher(domain_id, path=folder, rate=100.0, frames=1, preload=True) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert "sent 1 frames" in output
    assert "skipped" not in output


def test_the_street_publishes_its_depth_and_its_own_field_of_view(
    peer: RosPeer, domain_id: int
) -> None:
    for topic, kind in (
        ("image", Image), ("camera_info", CameraInfo),
        ("depth/image", Image), ("depth/camera_info", CameraInfo),
    ):  # fmt: skip
        peer.listen(kind, topic, IMAGES)
    with publisher(domain_id, path="synthetic", depth="true", wait_for_subscriber="true"):
        # Best effort: any of them may get lost on a busy machine.
        depth, image = wait_until(
            lambda: next(
                (
                    (depth, image)
                    for depth in list(peer.received["depth/image"])
                    for image in list(peer.received["image"])
                    if depth.header == image.header
                ),
                None,
            ),
            "image and depth of one moment",
        )
        info, depth_info = peer.wait_for("camera_info"), peer.wait_for("depth/camera_info")
    assert (depth.height, depth.width, depth.encoding) == (image.height, image.width, "32FC1")
    metres = depth_in_metres(depth)  # as the projector reads it
    assert 0.1 < np.isnan(metres).mean() < 0.6  # the sky
    assert 1 < np.nanmin(metres) < 10
    street = SyntheticStreet()
    assert info.k[0] == pytest.approx(street.camera(0).focal)
    assert list(depth_info.k) == list(info.k)
