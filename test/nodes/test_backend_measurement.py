"""Backend "auto" in the node: measured in the background, over DDS, with scripted segmenters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from ros_peer import TIMEOUT, rgb_image, wait_until
from scripted_node import Running, ScriptedSegmenter, status
from sensor_msgs.msg import Image

MASK = "segmentation/mask"


class Choice:
    """Measures until it is told what came out: a backend, or an error."""

    possible = ("first", "second")

    def __init__(self) -> None:
        self.outcome: str | Exception = "second"
        self.go = threading.Event()
        self.measuring = threading.Event()
        self.closed = False

    def beside(self) -> Choice:
        return self

    def close(self) -> None:
        self.closed = True
        self.go.set()

    def measured_beside(self, process: Choice, turn: Callable[[], Any]) -> str:
        with turn():
            self.measuring.set()
        assert self.go.wait(TIMEOUT)
        if self.closed:
            raise RuntimeError("ended with 1")
        with turn():
            pass
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def choice() -> Choice:
    return Choice()


@pytest.fixture
def node(start: Callable[..., Running], choice: Choice) -> Running:
    """Active, and measuring."""
    running = start(autostart=False)

    def on_made(segmenter: ScriptedSegmenter) -> None:
        segmenter.backend = "first" if len(running.segmenters) == 1 else "second"
        segmenter.unmeasured = choice if segmenter.backend == "first" else None

    running.on_made = on_made
    running.image = running.peer.publisher(Image, "image")  # type: ignore[attr-defined]
    running.peer.listen(DiagnosticArray, "/diagnostics")
    assert running.peer.transition(Transition.TRANSITION_CONFIGURE)
    assert not choice.measuring.is_set()
    assert running.peer.transition(Transition.TRANSITION_ACTIVATE)
    running.connect(running.image, running.peer.listen(Image, MASK))  # type: ignore[attr-defined]
    assert choice.measuring.wait(TIMEOUT)
    return running


def segmented(node: Any, number: int) -> Any:
    """The status after an image."""
    node.image.publish(rgb_image(number))
    node.peer.wait_for_stamp(MASK, rgb_image(number))
    return status(node.peer, lambda s: s.header == rgb_image(number).header)


def told(node: Running, **values: object) -> None:
    """Wait for /diagnostics that say so."""
    wanted = {name.replace("_", " "): str(value) for name, value in values.items()}
    node.peer.received["/diagnostics"].clear()
    node.peer.wait_for(
        "/diagnostics",
        lambda m: wanted.items() <= {v.key: v.value for v in m.status[0].values}.items(),
    )


def test_the_fastest_takes_over_from_the_first(node: Running, choice: Choice) -> None:
    assert segmented(node, 1).backend == "first"
    told(node, backend="first", measuring_backends=True)
    # set, but not yet asked for by ~/reload_model
    assert node.peer.set_parameter("model", "another").successful
    choice.go.set()
    wait_until(lambda: node.segmenters[0].closed, "the first one freed")
    assert segmented(node, 2).backend == "second"
    told(node, backend="second", measuring_backends=False)
    assert [segmenter.started for segmenter in node.segmenters] == [[1], [2]]
    assert node.models == ["camss-tiny", "camss-tiny"]
    counts = status(node.peer, lambda s: s.segmented == 2)
    assert (counts.received, counts.failed, counts.dropped) == (2, 0, 0)


@pytest.mark.parametrize(
    "outcome", ["first", RuntimeError("no such driver")], ids=["fastest", "error"]
)
def test_the_first_one_stays(
    node: Running, choice: Choice, outcome: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    choice.outcome = outcome
    choice.go.set()
    told(node, backend="first", measuring_backends=False)
    assert segmented(node, 1).backend == "first"
    assert len(node.segmenters) == 1
    log = capfd.readouterr().err
    assert ("no such driver" in log) == isinstance(outcome, Exception)
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    choice.measuring.clear()
    assert node.peer.transition(Transition.TRANSITION_ACTIVATE)
    told(node, state="active", measuring_backends=False)  # not again
    assert not choice.measuring.is_set()


def test_deactivation_ends_it_and_activation_begins_again(node: Running, choice: Choice) -> None:
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    assert choice.closed
    told(node, state="inactive", measuring_backends=False)
    choice.closed = False
    choice.go.clear()
    choice.measuring.clear()
    assert node.peer.transition(Transition.TRANSITION_ACTIVATE)
    assert choice.measuring.wait(TIMEOUT)
    choice.go.set()
    wait_until(lambda: node.segmenters[0].closed, "the first one freed")


def test_cleanup_while_the_fastest_is_loaded(node: Running, choice: Choice) -> None:
    loading, go = threading.Event(), threading.Event()

    def before_load() -> None:
        loading.set()
        assert go.wait(TIMEOUT)

    node.before_load = before_load
    choice.go.set()
    assert loading.wait(TIMEOUT)
    assert node.peer.transition(Transition.TRANSITION_DEACTIVATE)
    assert node.peer.transition(Transition.TRANSITION_CLEANUP)
    assert node.segmenters[0].closed
    go.set()
    wait_until(lambda: len(node.segmenters) == 2, "the other one loaded")
    wait_until(lambda: node.segmenters[1].closed, "the other one freed")
    assert node.peer.state() == "unconfigured"


def test_a_reload_takes_the_place_of_the_measurement(node: Running, choice: Choice) -> None:
    assert node.peer.set_parameter("model", "another").successful
    choice.measuring.clear()

    def on_made(segmenter: ScriptedSegmenter) -> None:
        segmenter.backend, segmenter.unmeasured = "second", choice

    node.on_made = on_made
    answer = node.peer.reload_model()
    assert answer.success
    assert choice.closed
    assert choice.measuring.wait(TIMEOUT), "the other model"
    assert segmented(node, 1).backend == "second"
    assert node.models == ["camss-tiny", "another"]
