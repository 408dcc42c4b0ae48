"""Images go from process to process, and what becomes of them is counted."""

import array
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSProfile
from ros_peer import large_images_arrive
from sensor_msgs.msg import Image
from std_msgs.msg import Empty

from camss_ros.evaluation.result_folder import write_image
from camss_ros.lab.transport_benchmark import TransportTrial, row, send
from camss_ros.nodes.harness import child_process
from camss_ros.nodes.harness.child_process import isolate, leftover_queues
from camss_ros.nodes.qos import PROFILES


def test_small_images_arrive(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    write_image(folder / "0.png", np.zeros((48, 64, 3), np.uint8))
    trial = send(folder, 20.0, 5, isolate(), with_profile=True)
    assert len(trial.sent) == len(trial.latencies) == 5
    assert min(trial.latencies) > 0


def publish_4k(environment: Mapping[str, str], count: int) -> None:
    """Send raw 4K images, reliably; each once the one before was answered.

    The first may be sent before its receiver knows the camera: its answer may not come.
    """
    os.environ.update(environment)
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "image", QoSProfile(depth=10))
    answers: list[Empty] = []
    node.create_subscription(Empty, "received", answers.append, QoSProfile(depth=10))
    image = Image(height=2160, width=3840, encoding="rgb8", step=3840 * 3)
    image.data = array.array("B", bytes(2160 * 3840 * 3))
    while not publisher.get_subscription_count() or not node.count_publishers("received"):
        time.sleep(0.01)
    for number in range(count):
        answers.clear()
        image.header.stamp.sec = number
        publisher.publish(image)
        end = time.monotonic() + (30 if number else 2)
        while not answers and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()


def stamps_received(environment: Mapping[str, str], last: int) -> list[int]:
    """Listen with best effort until image `last` is there, or for 240 s; answer each."""
    os.environ.update(environment)
    rclpy.init()
    node = rclpy.create_node("segmenter")
    stamps: list[int] = []
    answer = node.create_publisher(Empty, "received", QoSProfile(depth=10))

    def on_image(image: Image) -> None:
        stamps.append(image.header.stamp.sec)
        answer.publish(Empty())

    node.create_subscription(Image, "image", on_image, PROFILES["sensor_data"])
    end = time.monotonic() + 240
    while last not in stamps and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()
    return stamps


@large_images_arrive
def test_4k_images_of_a_reliable_camera_arrive() -> None:
    environment, count = isolate(), 8
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as processes:
        received = processes.submit(stamps_received, environment, count - 1)
        processes.submit(publish_4k, environment, count).result()
        assert set(received.result()) >= {*range(1, count)}


def test_a_demo_keeps_away_from_the_queues_of_a_killed_process(
    domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = "import rclpy; rclpy.init(); node = rclpy.create_node('a'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", lives], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
    ) as process:  # fmt: skip
        assert process.stdout
        process.stdout.readline()
        others = leftover_queues(domain_id)  # of other tests
        process.kill()
    queues = leftover_queues(domain_id)
    try:
        assert {*queues} > {*others}
        other = isolate()["ROS_DOMAIN_ID"]
        monkeypatch.setattr(child_process, "_DOMAINS", (domain_id, int(other)))
        assert {isolate()["ROS_DOMAIN_ID"] for _ in range(10)} == {other}
    finally:
        for queue in queues:
            queue.unlink()


def test_no_two_demos_have_one_domain_before_their_nodes_are_there_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begins = (
        "from camss_ros.nodes.harness.child_process import isolate\n"
        "print(isolate()['ROS_DOMAIN_ID'], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", begins], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        domain = int(process.stdout.readline())
        monkeypatch.setattr(child_process, "_DOMAINS", (domain,))
        with pytest.raises(OSError, match="in use"):
            isolate()
        process.kill()
    assert isolate()["ROS_DOMAIN_ID"] == str(domain)


def test_the_row_counts_what_was_lost() -> None:
    trials = [
        TransportTrial((0, 100_000_000, 200_000_000), (0.01, 0.03)),
        TransportTrial((0, 100_000_000, 200_000_000), ()),
    ]
    expected = ["64 x 48", "10 Hz", "without", "10.0 Hz", "33.3 % of 6", "20.0", "29.0"]
    assert row((48, 64), 10.0, False, trials) == expected
    assert row((48, 64), 10.0, True, trials[1:])[4:] == ["0.0 % of 3", "", ""]
