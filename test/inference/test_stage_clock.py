"""Times of stages: on the CPU, and by stand-ins for the events of a GPU."""

from typing import ClassVar

import pytest
import torch

from camss_ros.inference.stage_clock import StageClock

CUDA = torch.device("cuda", 1)


class Event:
    """Of a GPU that is a millisecond later at each record, and passed when it is waited for."""

    recorded: ClassVar[list["Event"]] = []

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.passed = False

    def record(self, stream: str) -> None:
        assert stream == "current stream of cuda:1"
        self.time = float(len(self.recorded))
        self.recorded.append(self)

    def synchronize(self) -> None:
        for event in self.recorded[: self.recorded.index(self) + 1]:
            event.passed = True

    def elapsed_time(self, end: "Event") -> float:
        if not (self.passed and end.passed):
            raise RuntimeError("CUDA error: device not ready")
        return end.time - self.time


@pytest.fixture
def events(monkeypatch) -> list[Event]:
    monkeypatch.setattr(Event, "recorded", [])
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"current stream of {device}")
    return Event.recorded


def test_times_of_a_gpu_are_read_when_its_last_event_is_passed(events):
    clock = StageClock(CUDA)
    for stage in ("tokens", "sampling", "tokens", "postprocess"):
        clock.mark(stage)
    assert not any(event.passed for event in events)
    assert clock.seconds() == pytest.approx(
        {"tokens": 0.002, "sampling": 0.001, "postprocess": 0.001, "total": 0.004}
    )


def test_without_a_stage_there_is_nothing_to_wait_for(events):
    assert StageClock(CUDA).seconds() == {"total": 0.0}


def test_on_the_cpu_stages_add_up():
    clock = StageClock(torch.device("cpu"))
    for stage in ("tokens", "decode"):
        clock.mark(stage)
    seconds = clock.seconds()
    assert seconds["tokens"] + seconds["decode"] == pytest.approx(seconds["total"])
