"""The newest frame of each source wins, none waits for another, and nobody waits for ever."""

import threading

from camss_ros.nodes.worker import FrameMailbox


def test_a_newer_frame_takes_the_place_of_an_older_one() -> None:
    mailbox: FrameMailbox[str, str] = FrameMailbox()
    assert mailbox.put("front", "first") is None
    assert mailbox.put("front", "second") == "first"
    assert mailbox.take() == {"front": "second"}


def test_every_source_keeps_its_newest_and_all_are_taken_at_once() -> None:
    mailbox: FrameMailbox[str, int] = FrameMailbox()
    assert mailbox.put("left", 0) is None
    assert [mailbox.put("front", number) for number in range(4)] == [None, 0, 1, 2]
    assert mailbox.take() == {"left": 0, "front": 3}
    mailbox.put("front", 4)
    assert mailbox.take() == {"front": 4}


def test_a_few_may_wait_and_are_taken_in_their_order() -> None:
    mailbox: FrameMailbox[str, int] = FrameMailbox(waiting=2)
    assert [mailbox.put("front", number) for number in range(4)] == [None, None, 0, 1]
    mailbox.put("left", 9)
    assert mailbox.take() == {"front": 2, "left": 9}
    assert mailbox.put("front", 4) is None
    assert mailbox.take() == {"front": 3}
    assert mailbox.put("front", 5) is None
    assert mailbox.close() == ["front", "front"]


def test_those_that_have_waited_too_long_go_but_for_the_newest() -> None:
    mailbox: FrameMailbox[str, int] = FrameMailbox(waiting=3)
    for number in range(3):
        mailbox.put("front", number)
    mailbox.put("left", 9)
    assert mailbox.discard(60) == []
    assert mailbox.discard(0) == ["front", "front"]
    assert mailbox.take() == {"front": 2, "left": 9}


def test_take_waits_for_a_frame() -> None:
    mailbox: FrameMailbox[str, str] = FrameMailbox()
    taken: list[dict[str, str]] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    mailbox.put("front", "frame")
    taker.join(timeout=10)
    assert taken == [{"front": "frame"}]


def test_close_ends_a_waiting_take() -> None:
    mailbox: FrameMailbox[str, str] = FrameMailbox()
    taken: list[dict[str, str]] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    assert mailbox.close() == []
    taker.join(timeout=10)
    assert taken == [{}]


def test_a_closed_mailbox_returns_what_never_got_its_turn() -> None:
    mailbox: FrameMailbox[str, str] = FrameMailbox()
    mailbox.put("front", "waiting")
    assert mailbox.close() == ["front"]
    assert mailbox.put("front", "late") == "late"
    assert mailbox.take() == {}
