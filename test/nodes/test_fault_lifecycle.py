"""Lifecycle transitions while images arrive leave nothing behind, over DDS."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from timeit import timeit

import pytest
from fault_scale import LONG, scaled
from lifecycle_msgs.msg import Transition
from rclpy.task import Future
from ros_peer import TIMEOUT, RosPeer, rgb_image, wait_until
from scripted_node import Running, status
from segmenter_process import HEIGHT, WIDTH, Process, at_the_front
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from camss_ros.nodes.managed_node import CANCEL_TIME
from camss_ros.resident_memory import resident_bytes

RATE = 100.0  # Hz
ROUNDS = scaled(5, 50)
ROUND = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)
SETTLING_TIME = 2.0  # s
# The resident set goes up and down by tens of MB with what the allocator happens to keep of a frame
# in work: highest values of so many rounds are compared. A model left behind is 13 MB a round.
SPAN = 10
GROWTH = 0.1  # that is allowed from the first to the last of them


@dataclass(frozen=True)
class Held:
    """What the node holds: threads and open files, and how many DDS endpoints of each topic
    and service others see of it."""

    threads: int
    files: int
    endpoints: Counter[str]


class Watched:
    """A segmenter process, and how a peer sees it. They are alone in their ROS domain."""

    def __init__(self, process: Process, peer: RosPeer) -> None:
        self.process, self.peer = process, peer
        self._proc = Path("/proc") / str(process.process.pid)

    def held(self) -> Held:
        threads = len(os.listdir(self._proc / "task"))
        files = len(os.listdir(self._proc / "fd"))
        return Held(threads, files, self._endpoints())

    def settled(self) -> Held:
        """What it holds once that stays the same: others learn of endpoints a little later."""
        held, since = self.held(), time.monotonic()
        while time.monotonic() - since < SETTLING_TIME:
            time.sleep(0.1)
            if (now := self.held()) != held:
                held, since = now, time.monotonic()
        return held

    def comes_back_to(self, held: Held) -> None:
        """Wait until it holds as much as before, no less and no more."""
        end = time.monotonic() + TIMEOUT
        while (now := self.held()) != held:
            assert time.monotonic() < end, f"{now}, before: {held}; log: {self.process.log}"
            time.sleep(0.05)

    def _endpoints(self) -> Counter[str]:
        node, found = self.peer.node, Counter[str]()
        for topic, _ in node.get_topic_names_and_types():
            for end in (
                *node.get_publishers_info_by_topic(topic),
                *node.get_subscriptions_info_by_topic(topic),
            ):
                # An endpoint that its node has given up, but DDS has not, has no node's name.
                if end.node_name != node.get_name():
                    found[f"{end.endpoint_type.name} {topic}"] += 1
        for service, _ in node.get_service_names_and_types():
            if servers := node.count_services(service):
                found[f"SERVICE {service}"] += servers
        return found

    def resident(self) -> int:
        """Bytes of memory in use."""
        return resident_bytes(pid=self.process.process.pid)


@contextmanager
def images_arriving(peer: RosPeer) -> Iterator[Callable[[], int]]:
    """Publish images with calibration all the time; yields the number of the last one."""
    image, info = peer.publisher(Image, "image"), peer.publisher(CameraInfo, "camera_info")
    over = threading.Event()
    last = 0

    def send() -> None:
        nonlocal last
        for number in itertools.count(1):
            message = rgb_image(number, HEIGHT, WIDTH)
            info.publish(CameraInfo(header=message.header, height=HEIGHT, width=WIDTH))
            image.publish(message)
            last = number
            if over.wait(1 / RATE):
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield lambda: last
    finally:
        over.set()
        thread.join()


def number_of(message: Image) -> int:
    """Of the image that a mask is for."""
    return int(message.header.frame_id.split()[1])


@pytest.fixture
def watched(spawn: Callable[..., Process], model: Path, module_domain_id: int) -> Iterator[Watched]:
    with at_the_front(spawn, module_domain_id, model) as (process, peer):
        yield Watched(process, peer)
    process.end(signal.SIGTERM)
    assert process.process.returncode == 0
    assert "Traceback" not in process.log


def test_transitions_under_load_leak_nothing(watched: Watched) -> None:
    peer, masks = watched.peer, watched.peer.received["segmentation/mask"]
    for topic in ("mask", "confidence"):
        peer.listen(Image, f"segmentation/{topic}")
    resident = []

    with images_arriving(peer) as last_image:

        def segments() -> None:
            """Wait for the mask of an image yet to be sent."""
            masks.clear()
            now = last_image()
            wait_until(
                lambda: masks and number_of(masks[-1]) > now, f"a mask; log: {watched.process.log}"
            )

        segments()
        active, unconfigured = watched.settled(), None
        assert set(active.endpoints.values()) == {1}
        for _ in range(ROUNDS):
            for transition in ROUND:
                assert peer.transition(transition), watched.process.log
                if transition == Transition.TRANSITION_CLEANUP:
                    unconfigured = unconfigured or watched.settled()
                    watched.comes_back_to(unconfigured)
            segments()
            watched.comes_back_to(active)
            resident.append(watched.resident())
    assert unconfigured is not None
    assert unconfigured.endpoints < active.endpoints
    print_numbers(active, unconfigured, resident)
    if LONG:
        first, last = max(resident[:SPAN]), max(resident[-SPAN:])
        assert last < (1 + GROWTH) * first, resident


@pytest.mark.parametrize("fails", [False, True], ids=["given up", "failed"])
@pytest.mark.usefixtures("no_garbage_collection")
def test_cleanup_frees_the_model_at_once(node: Running, fails: bool) -> None:
    """Not when Python looks for cycles: a GPU may have no room for the next one beside it."""
    model = weakref.ref(node.segmenter)
    if fails:
        node.segmenter.bad = {1}
    else:
        node.segmenter.go.clear()
    node.image.publish(rgb_image(1))
    wait_until(lambda: node.segmenter.started, "the image in work")
    if fails:
        status(node.peer, lambda s: s.failed == 1)
    node.segmenters.clear()
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    assert node.peer.transition(Transition.TRANSITION_CLEANUP)
    assert model() is None


def reload_that_waits(node: Running) -> tuple[threading.Event, Future]:
    """Asks for another model, which is not loaded before the event is set; the answer to come."""
    begun, go = threading.Event(), threading.Event()

    def before_load() -> None:
        node.before_load = lambda: None
        begun.set()
        assert go.wait(TIMEOUT)

    node.before_load = before_load
    client = node.peer.node.create_client(Trigger, "segmenter/reload_model")
    assert client.wait_for_service(TIMEOUT)
    answer = client.call_async(Trigger.Request())
    wait_until(begun.is_set, "the reload begun")
    return go, answer


@pytest.mark.parametrize("configured_again", [False, True])
def test_a_reload_from_before_a_cleanup_comes_to_nothing(
    node: Running, configured_again: bool
) -> None:
    go, answer = reload_that_waits(node)
    for transition in ROUND if configured_again else ROUND[:2]:
        assert node.peer.transition(transition)
    current = node.segmenter
    go.set()
    wait_until(answer.done, "an answer")
    assert not answer.result().success
    assert "cleaned up" in answer.result().message
    stale = node.segmenters[-1]
    assert stale is not current or not configured_again
    wait_until(lambda: stale.closed, "the late model freed")
    if configured_again:
        assert not current.closed
        node.connect(node.image)
        node.image.publish(rgb_image(5))
        node.peer.wait_for_stamp("segmentation/mask", rgb_image(5))
        assert current.started == [5]


def test_a_reload_while_inactive_is_used_after_activation(node: Running) -> None:
    go, answer = reload_that_waits(node)
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    go.set()
    wait_until(answer.done, "an answer")
    assert answer.result().success
    assert node.peer.transition(Transition.TRANSITION_ACTIVATE)
    node.connect(node.image)
    node.image.publish(rgb_image(6))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(6))
    assert [segmenter.started for segmenter in node.segmenters] == [[], [6]]


def test_an_error_beside_the_frames_does_not_end_the_inference(
    node: Running, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("no such time")

    camera = node.node.cameras[0]
    for number, (owner, name) in enumerate(
        [
            (node.node._deadline, "observe"),  # after the mask
            (camera, "publish_status"),
            (node.node._models, "in_use"),  # before it
        ]
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            node.image.publish(rgb_image(10 + number))
            wait_until(
                lambda number=number: camera.counter.snapshot().received == 2 * number + 1,
                "the image received",
            )
            wait_until(
                lambda number=number: (
                    sum(
                        getattr(camera.counter.snapshot(), name) for name in ("segmented", "failed")
                    )
                    == 2 * number + 1
                ),
                "the image counted",
            )
            time.sleep(0.1)  # the rest of its way
        node.image.publish(rgb_image(20 + number))
        node.peer.wait_for_stamp("segmentation/mask", rgb_image(20 + number))
        status(node.peer, lambda s, number=number: s.received == 2 * number + 2)
    counts = status(node.peer, lambda s: s.received == 6)
    assert (counts.segmented, counts.failed, counts.dropped) == (5, 1, 0)
    assert "no such time" in capfd.readouterr().err


def test_a_device_that_hangs_does_not_hold_up_the_lifecycle(node: Running) -> None:
    hanging = node.segmenter
    hanging.cancellable = False
    hanging.go.clear()
    node.image.publish(rgb_image(1))
    wait_until(lambda: hanging.started, "the image in work")
    # Called where its services are: DDS may take its time to call and to answer them.
    took = node.in_executor(lambda: timeit(node.node.trigger_deactivate, number=1))
    assert status(node.peer, lambda s: s.dropped == 1).received == 1
    took += node.in_executor(lambda: timeit(node.node.trigger_cleanup, number=1))
    assert took < 2 * CANCEL_TIME + 1
    assert node.peer.state() == "unconfigured"
    assert not hanging.closed  # it is in use
    assert node.peer.transition(Transition.TRANSITION_CONFIGURE)
    assert node.peer.transition(Transition.TRANSITION_ACTIVATE)
    node.connect(node.image)
    node.image.publish(rgb_image(2))
    node.peer.wait_for_stamp("segmentation/mask", rgb_image(2))
    hanging.go.set()
    wait_until(lambda: hanging.closed, "its model freed")
    stamps = [m.header.frame_id for m in node.peer.received["segmentation/mask"]]
    assert stamps == ["camera 2"]
    counts = status(node.peer, lambda s: s.segmented == 1)
    assert (counts.received, counts.dropped, counts.failed) == (1, 0, 0)


def test_it_ends_after_somebody_else_has_shut_it_down(spawn: Callable[..., Process]) -> None:
    process = spawn("-r", "__ns:=/managed", autostart=False)
    peer = RosPeer(process.domain_id, namespace="/managed")
    try:
        assert peer.transition(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    finally:
        peer.close()
    process.end(signal.SIGINT)
    assert process.process.returncode == 0
    assert "Traceback" not in process.log


def print_numbers(active: Held, unconfigured: Held, resident: list[int]) -> None:
    """For `pytest -s`."""
    for state, held in {"active": active, "unconfigured": unconfigured}.items():
        endpoints = held.endpoints.total()
        print(f"{state}: {held.threads} threads, {held.files} files, {endpoints} endpoints")
    print("MB after each round:", *(f"{size / 1e6:.1f}" for size in resident))
