"""Latency budget and warm start in the node, with a segmenter that is as slow as told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from ros_peer import rgb_image
from scripted_node import Running, status
from sensor_msgs.msg import Image

from camss_ros.nodes.segmenter.deadline import Deadline
from camss_ros.nodes.segmenter.parameters import SPECS, ParameterValues

TOPIC = "segmentation/mask"


def connected(running: Running) -> Callable[[Any], Any]:
    """Publishes an image, waits for its mask and returns the status after it."""
    image = running.peer.publisher(Image, "image")
    running.connect(image, running.peer.listen(Image, TOPIC))

    def send(message: Image) -> Any:
        image.publish(message)
        running.peer.wait_for_stamp(TOPIC, message)
        return status(running.peer, lambda s: s.header == message.header)

    return send


def test_an_impossible_budget_ends_at_the_least_setting_and_says_so_once(
    start: Callable[..., Running], capfd: pytest.CaptureFixture[str]
) -> None:
    running = start(steps=4, latency_budget_ms=5.0, allow_smaller_size=True, samples=2)
    peer = running.peer
    peer.listen(DiagnosticArray, "/diagnostics")
    send = connected(running)
    running.segmenter.delay = 0.02
    numbers = count(1)
    first = send(rgb_image(next(numbers)))
    assert (first.steps, first.samples) == (4, 2)
    assert (first.network_width, first.network_height) == (24, 16)
    assert first.latency_budget == 0.005
    assert not first.over_budget
    for _ in range(12):
        last = send(rgb_image(next(numbers)))
    assert (last.steps, last.samples) == (1, 1)
    assert (last.network_width, last.network_height) == (16, 16)
    assert (running.segmenter.sampling.steps, running.segmenter.network_size) == (1, (16, 16))
    assert last.over_budget
    reported = peer.wait_for(
        "/diagnostics", lambda m: "latency_budget_ms" in m.status[0].message
    ).status[0]
    values = {value.key: value.value for value in reported.values}
    assert (values["steps"], values["network input"]) == ("1", "16 x 16")
    assert values["latency budget (s)"] == "0.0050"

    # what was too slow says nothing of another model
    answer = peer.reload_model()
    assert answer.success, answer.message
    other = send(rgb_image(next(numbers)))
    assert (other.steps, other.samples, other.network_width) == (4, 2, 24)
    assert not other.over_budget

    # without a budget at once as asked for
    assert peer.set_parameter("latency_budget_ms", 0.0).successful
    free = send(rgb_image(next(numbers)))
    assert (free.steps, free.samples, free.network_width) == (4, 2, 24)
    assert not free.over_budget

    log = capfd.readouterr().err
    assert log.count("latency budget of 5 ms is missed") == 1
    assert log.count("for the latency budget of 5 ms: steps 1, samples 1, 16 x 16") == 1


def test_a_setting_that_is_there_is_taken_and_the_size_changes_only_where_it_may() -> None:
    values = {spec.name: spec.default for spec in SPECS} | {"steps": 4, "latency_budget_ms": 5.0}
    said: list[str] = []
    deadline = Deadline(ParameterValues(values), said.append, said.append)
    segmenter: Any = SimpleNamespace(
        input_size=(16, 24), can_resize=True, is_prepared=lambda sampling, _: sampling.steps < 4
    )
    assert deadline.choose(segmenter).sampling.steps == 2  # the others have to be built
    segmenter.is_prepared = lambda *_: False
    assert deadline.choose(segmenter).sampling.steps == 4  # so has each: as asked for
    segmenter.is_prepared = lambda *_: True
    for allowed, can_resize in ((False, True), (True, False), (True, True)):
        values["allow_smaller_size"], segmenter.can_resize = allowed, can_resize
        deadline.reset()
        while not deadline.exhausted:
            least = deadline.choose(segmenter)
            deadline.observe(0.1, {})
        assert least.sampling.steps == 1
        assert least.size == ((16, 16) if allowed and can_resize else (16, 24))

    # without a budget at once as asked for, whatever has to be built, and nothing is missed
    values["latency_budget_ms"] = 0.0
    segmenter.is_prepared = lambda sampling, _: sampling.steps < 4
    said.clear()
    assert deadline.choose(segmenter).sampling.steps == 4
    for _ in range(9):
        assert not deadline.exhausted
        deadline.observe(0.1, {})
    assert said == []


def test_the_stamp_of_an_image_is_given_where_it_has_one(start: Callable[..., Running]) -> None:
    running = start(warm_start_time=400)
    send = connected(running)
    send(rgb_image(1))
    without = rgb_image(2)
    without.header.stamp.sec = without.header.stamp.nanosec = 0
    send(without)
    assert running.segmenter.sampling.warm_start_time == 400
    assert running.peer.set_parameter("warm_start_time", 0).successful
    send(rgb_image(3))
    assert running.segmenter.stamps == [1_700_000_001.123456789, None, 1_700_000_003.123456789]
