"""Every frame is accounted for once, whatever the work on it does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from ros_peer import wait_until

from camss_ros.nodes.worker import Worker

Frames = dict[str, int]


class Counted:
    """A worker that counts what became of its frames."""

    def __init__(
        self, process: Callable[[Frames, Callable[[], bool]], None], waiting: int = 1
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.worker: Worker[str, int] = Worker(process, self._drop, self._fail, waiting=waiting)

    def _drop(self, source: str) -> None:
        self.counts["dropped"] += 1

    def _fail(self, sources: Sequence[str], error: Exception) -> None:
        self.counts["failed"] += len(sources)
        self.errors.append(str(error))


def test_an_exception_does_not_end_the_thread() -> None:
    done: list[int] = []

    def process(frames: Frames, cancelled: Callable[[], bool]) -> None:
        number = frames["front"]
        if number == 1:
            raise ArithmeticError("before it was counted")
        done.append(frames.pop("front"))
        if number == 2:
            raise ArithmeticError("after it was counted")

    counted = Counted(process)
    counted.worker.submit("front", 1)
    wait_until(lambda: counted.counts["failed"] == 1, "the first counted")
    for number in (2, 3):
        counted.worker.submit("front", number)
        wait_until(lambda: number in done, "the next one in work")  # noqa: B023
    # else a node without images would say after a while that its device hangs
    wait_until(lambda: counted.worker.time_in_work() == 0, "nothing in work")
    counted.worker.cancel()
    assert counted.worker.join(10)
    assert counted.counts == {"failed": 1}
    assert counted.errors == ["before it was counted", "after it was counted"]


def test_frames_that_wait_do_not_get_older_than_the_work_takes() -> None:
    ages: list[float] = []

    def process(frames: Frames, cancelled: Callable[[], bool]) -> None:
        ages.append(time.monotonic() - submitted[frames.pop("front")])
        time.sleep(0.02)

    counted = Counted(process, waiting=50)
    submitted: list[float] = []
    while len(ages) < 50:  # two come while one is in work
        submitted.append(time.monotonic())
        counted.worker.submit("front", len(submitted) - 1)
        time.sleep(0.01)
    counted.worker.cancel()
    assert counted.worker.join(10)
    assert min(ages[-20:]) < 0.1  # 0.3 s and more in a queue that gets longer
    assert counted.counts["dropped"] == len(submitted) - len(ages)


def test_one_that_hangs_is_given_up_and_counted_once() -> None:
    begun, go = threading.Event(), threading.Event()

    def process(frames: Frames, cancelled: Callable[[], bool]) -> None:
        begun.set()
        assert go.wait(60)
        assert cancelled()
        raise RuntimeError("cancelled")

    counted = Counted(process)
    counted.worker.submit("front", 1)
    assert begun.wait(60)
    counted.worker.submit("front", 2)
    assert 0 < counted.worker.time_in_work() < 60
    counted.worker.cancel()
    assert not counted.worker.join(0.01)
    assert counted.counts == {"dropped": 2}
    go.set()
    assert counted.worker.join(60)
    assert counted.counts == {"dropped": 2}
    assert counted.errors == []
