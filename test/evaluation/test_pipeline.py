"""Stages of a pipeline: at work at the same time, bounded, in order, and how they end."""

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from camss_ros.evaluation.pipeline import stage


class Item:
    """Something that shows whether it is still held."""

    def __init__(self, number: int) -> None:
        self.number = number


def numbers(count: int, error: BaseException | None = None) -> Iterator[int]:
    yield from range(count)
    if error is not None:
        raise error


def test_stages_work_at_the_same_time_and_keep_the_order():
    both = threading.Barrier(2, timeout=60)

    def first(number: int) -> int:
        if number == 1:
            both.wait()  # until the next stage has the item before
        return 10 * number

    def second(number: int) -> tuple[int, str]:
        if number == 0:
            both.wait()
        return number, threading.current_thread().name

    results = list(stage(second, stage(first, numbers(20))))
    assert [number for number, _ in results] == list(range(0, 200, 10))
    assert len({name for _, name in results}) == 1
    assert results[0][1] != threading.current_thread().name


def test_a_stage_may_work_on_several_items():
    both = threading.Barrier(2, timeout=60)
    held = 0

    def first(number: int) -> int:
        if number in (0, 1):
            both.wait()
        return 10 * number

    def counted() -> Iterator[int]:
        nonlocal held
        for number in range(20):
            held = number
            yield number

    results = stage(first, counted(), at_a_time=2)
    assert next(results) == 0
    assert held < 5
    assert list(results) == list(range(10, 200, 10))


def test_the_source_is_read_by_whoever_takes_the_results():
    """A bag of SQLite may be read in the thread alone that has opened it."""
    readers = set()

    def source() -> Iterator[int]:
        for number in range(5):
            readers.add(threading.get_ident())
            yield number

    list(stage(str, stage(abs, source())))
    assert readers == {threading.get_ident()}


def test_what_is_held_does_not_grow():
    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    most = 0

    def source() -> Iterator[Item]:
        for number in range(200):
            item = Item(number)
            alive.add(item)
            yield item
            del item

    taken = 0
    for _ in stage(lambda item: item, stage(lambda item: item, source())):
        taken += 1
        gc.collect(0)
        most = max(most, len(alive))
    assert taken == 200
    assert most <= 12


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_what_a_source_gave_before_its_error_is_done_first(error):
    done = []
    with pytest.raises(type(error)):
        done.extend(stage(str, stage(abs, numbers(3, error))))
    assert done == ["0", "1", "2"]


def test_the_error_of_a_stage_comes_in_its_place_and_ends_the_work():
    begun = []

    def fail_at_five(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise OSError("no room")
        return number

    done = []
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no room"):
        done.extend(stage(str, stage(fail_at_five, numbers(1000))))
    assert done == ["0", "1", "2", "3", "4"]
    assert len(begun) <= 9
    assert before.issuperset(threading.enumerate())


def test_leaving_early_ends_the_work():
    begun = []
    before = set(threading.enumerate())
    results = stage(str, stage(begun.append, numbers(1000)))
    assert next(results) == "None"
    results.close()
    assert len(begun) <= 8
    assert before.issuperset(threading.enumerate())
