"""Sets of messages by their stamps."""

from __future__ import annotations

import pytest

from camss_ros.nodes.projection.synchroniser import Synchroniser

MS = 10**6


def test_exact_stamps_make_a_set_once() -> None:
    sets = Synchroniser("mask", ["depth"], 0)
    assert sets.add("mask", 5, "m5") is None
    assert sets.add("depth", 6, "d6") is None
    assert sets.add("depth", 5, "d5") == {"mask": "m5", "depth": "d5"}
    assert sets.add("depth", 5, "again") is None


def test_the_nearest_within_the_tolerance_is_taken() -> None:
    sets = Synchroniser("cloud", ["mask"], 20 * MS)
    sets.add("mask", 70 * MS, "early")
    sets.add("mask", 95 * MS, "near")
    assert sets.add("cloud", 100 * MS, "c") == {"cloud": "c", "mask": "near"}
    assert sets.add("cloud", 200 * MS, "c2") is None
    assert sets.add("mask", 221 * MS, "late") is None
    assert sets.add("mask", 220 * MS, "just") == {"cloud": "c2", "mask": "just"}


def test_the_newest_set_wins_and_none_follows_that_is_older() -> None:
    sets = Synchroniser("mask", ["depth"], 0)
    for stamp in (1, 2, 3):
        sets.add("mask", stamp, stamp)
    assert sets.add("depth", 3, 3) == {"mask": 3, "depth": 3}
    assert sets.add("depth", 2, 2) is None
    assert sets.add("mask", 2, 2) is None
    near = Synchroniser("mask", ["depth"], 10)
    for stamp in (100, 110):
        near.add("mask", stamp, stamp)
    assert near.add("depth", 105, "both") == {"mask": 110, "depth": "both"}


def test_a_silent_partner_is_left_out_when_the_next_reference_comes() -> None:
    sets = Synchroniser("cloud", ["front", "left"], 0, partial=True)
    sets.add("front", 1, "f1")
    assert sets.add("cloud", 1, "c1") is None
    assert sets.add("cloud", 2, "c2") == {"cloud": "c1", "front": "f1"}
    assert sets.add("cloud", 3, "c3") is None  # nobody saw the second
    sets.add("front", 3, "f3")
    assert sets.add("left", 3, "l3") == {"cloud": "c3", "front": "f3", "left": "l3"}
    whole = Synchroniser("cloud", ["front", "left"], 0)
    for topic, stamp in (("front", 1), ("cloud", 1), ("cloud", 2)):
        assert whole.add(topic, stamp, "") is None


def test_a_partner_that_is_later_than_the_reference_leaves_out_no_other() -> None:
    sets = Synchroniser("cloud", ["front", "left"], 20 * MS, partial=True)
    assert sets.add("cloud", 100 * MS, "c") is None
    assert sets.add("front", 110 * MS, "f") is None
    assert sets.add("left", 115 * MS, "l") == {"cloud": "c", "front": "f", "left": "l"}


def test_a_silent_partner_is_left_out_where_the_other_takes_longer_than_a_reference() -> None:
    sets = Synchroniser("cloud", ["front", "left"], 0, partial=True)
    found = []
    for cloud in range(10):
        found.append(sets.add("cloud", cloud, f"c{cloud}"))
        if cloud >= 2:
            assert sets.add("front", cloud - 2, f"f{cloud - 2}") is None
    assert found[:3] == [None] * 3
    assert found[3:] == [{"cloud": f"c{i}", "front": f"f{i}"} for i in range(7)]


def test_a_mask_finds_its_depth_image_after_most_of_a_second() -> None:
    sets = Synchroniser("labels", ["depth"], 20 * MS)
    for number in range(30):
        sets.add("depth", number * 33 * MS, number)
    assert sets.add("labels", 3 * 33 * MS, "mask") == {"labels": "mask", "depth": 3}


@pytest.mark.parametrize("seconds", [1, 100])
def test_a_bag_that_begins_again_makes_sets_again(seconds: int) -> None:
    sets = Synchroniser("mask", ["depth"], 0)
    for stamp in (3 * 10**9 + seconds * 10**9, 3 * 10**9):
        sets.add("mask", stamp, "m")
        assert sets.add("depth", stamp, "d") == {"mask": "m", "depth": "d"}


def test_a_mask_that_takes_long_is_no_time_that_begins_again() -> None:
    sets = Synchroniser("mask", ["cloud"], 0)
    for stamp in (1, 2, 9):
        sets.add("cloud", stamp * 10**9, stamp)
    for stamp in (1, 2, 9):
        found = sets.add("mask", stamp * 10**9, "m")
        assert found == {"mask": "m", "cloud": stamp}


def test_only_a_few_messages_wait() -> None:
    sets = Synchroniser("mask", ["depth"], 0)
    for stamp in range(1000):
        sets.add("mask", stamp, stamp)
    assert sum(map(len, sets._queues.values())) == 30
    assert sets.add("depth", 900, "long ago") is None
    assert sets.add("depth", 999, "now") == {"mask": 999, "depth": "now"}
