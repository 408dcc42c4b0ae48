"""The node is ended at random moments and started again by a supervisor.

`launch` has no wheel: `Respawn` does here what its `respawn=True` does, which is to start the
process again, after a delay, whenever it has ended, however it has.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from fault_scale import LONG, RECOVERY, scaled
from rclpy.executors import SingleThreadedExecutor
from ros_peer import RosPeer, rgb_image, wait_until
from segmenter_process import HEIGHT, WIDTH, Process
from sensor_msgs.msg import Image

from camss_ros.nodes.spinner import Spinner

RESPAWN_DELAY = 0.2  # s
FATAL = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


class Respawn:
    """Keeps a process running."""

    def __init__(self, start: Callable[[], Process]) -> None:
        self._start = start
        self.process = start()

    def ended(self) -> Process:
        """Wait for the end of the process and start another; returns the one that ended."""
        old = self.process
        wait_until(lambda: old.process.poll() is not None, "the end of the process")
        time.sleep(RESPAWN_DELAY)
        self.process = self._start()
        return old


@pytest.fixture(scope="module")
def node(spawn: Callable[..., Process], model: Path) -> Respawn:
    return Respawn(lambda: spawn("-r", "__ns:=/again", model=model, device="cpu"))


@pytest.fixture(scope="module")
def peer(module_domain_id: int) -> Iterator[RosPeer]:
    peer = RosPeer(module_domain_id, namespace="/again")
    yield peer
    peer.close()


# test_segmenter_process.py ends it by SIGTERM, and by SIGINT in the middle of an image.
@pytest.mark.parametrize("number", FATAL if LONG else [signal.SIGKILL])
@pytest.mark.parametrize("at_work", [False, True] if LONG else [True], ids=str)
def test_it_ends_cleanly_and_comes_back(
    node: Respawn, peer: RosPeer, number: signal.Signals, at_work: bool
) -> None:
    moments = random.Random(f"{number} {at_work}")
    image = peer.publisher(Image, "image")
    masks = peer.received["segmentation/mask"]
    peer.listen(Image, "segmentation/mask")
    for repetition in range(scaled(1, 5)):
        if at_work:
            images_come_back(node.process, image, masks, repetition)
            end = time.monotonic() + moments.uniform(0.0, 0.3)
            while time.monotonic() < end:  # so that it may be anywhere within an image
                image.publish(rgb_image(repetition, HEIGHT, WIDTH))
                time.sleep(0.005)
        else:
            time.sleep(moments.uniform(0.0, 4.0))
        node.process.process.send_signal(number)
        old = node.ended()
        code = old.process.returncode
        if at_work and number != signal.SIGKILL:
            assert code == 0, old.log
        elif "segmenter]" in old.log or number != signal.SIGINT:
            # Before the node takes the signal over, it has its usual effect.
            assert code in (0, -number), old.log
        else:  # so early that Python itself was starting
            assert code in (0, 1, -number), old.log
        if code <= 0:
            assert "Traceback" not in old.log
    images_come_back(node.process, image, masks, 1000)
    peer.node.destroy_publisher(image)


def images_come_back(process: Process, publisher: object, masks: list[Image], number: int) -> None:
    """Send an image every 50 ms; the first that arrives is segmented in time."""
    process.wait_for_log("active: segmenting")
    base = 10_000 * (number + 1)
    sent: dict[int, float] = {}
    masks.clear()

    def came() -> Image | None:
        image = rgb_image(base + len(sent), HEIGHT, WIDTH)
        sent[image.header.stamp.sec] = time.monotonic()
        publisher.publish(image)  # type: ignore[attr-defined]
        time.sleep(0.05)
        return next((m for m in list(masks) if m.header.stamp.sec in sent), None)

    mask = wait_until(came, f"a label image; log: {process.log}")
    assert time.monotonic() - sent[mask.header.stamp.sec] < RECOVERY


@pytest.mark.parametrize("before", [0.0, 0.05], ids=["at_once", "while_it_waits"])
def test_an_executor_ends(domain_id: int, before: float) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    calls: list[str] = []
    spinner = Spinner(
        SingleThreadedExecutor(context=context),
        lambda: calls.append("first"),
        lambda: calls.append("last"),
    )
    time.sleep(before)
    ending = threading.Thread(target=spinner.end, daemon=True)
    ending.start()
    ending.join(timeout=20)
    assert not ending.is_alive()
    spinner.end()
    assert calls == ["first", "last"]
    assert not spinner.failed
    rclpy.shutdown(context=context)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_executor_that_fails_ends_the_process_as_an_error() -> None:
    def fail() -> None:
        raise ArithmeticError("in a callback")

    shut_down, ended = threading.Event(), threading.Event()
    executor: Any = SimpleNamespace(spin_once=fail, shutdown=shut_down.set)
    spinner = Spinner(executor, last=ended.set)
    assert ended.wait(60)
    spinner._thread.join(60)
    spinner.end()
    assert shut_down.is_set()
    assert spinner.failed


@pytest.mark.skipif(not LONG, reason="part of make test-faults")
def test_nobody_can_write_its_log(model: Path, domain_id: int) -> None:
    """The disk with the log files is full: the node works on without a word."""
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "camss_ros.run_segmenter", "--ros-args",
             "-r", "__ns:=/mute", "-p", f"model:={model}", "-p", "backend:=torch"],
            env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
            stdout=full, stderr=full,
        )  # fmt: skip
    peer = RosPeer(domain_id, namespace="/mute")
    try:
        image = peer.publisher(Image, "image")
        peer.listen(Image, "segmentation/mask")

        def answered() -> bool:
            assert process.poll() is None
            image.publish(rgb_image(1, HEIGHT, WIDTH))
            time.sleep(0.2)
            return bool(peer.received["segmentation/mask"])

        wait_until(answered, "a label image")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        peer.close()
