"""The newest frame wins, and nobody waits for ever."""

import threading

from camss_ros.nodes.frame_mailbox import FrameMailbox


def test_a_newer_frame_takes_the_place_of_an_older_one() -> None:
    mailbox: FrameMailbox[str] = FrameMailbox()
    assert mailbox.put("first") is None
    assert mailbox.put("second") == "first"
    assert mailbox.take() == "second"


def test_take_waits_for_a_frame() -> None:
    mailbox: FrameMailbox[str] = FrameMailbox()
    taken: list[str | None] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    mailbox.put("frame")
    taker.join(timeout=10)
    assert taken == ["frame"]


def test_close_ends_a_waiting_take() -> None:
    mailbox: FrameMailbox[str] = FrameMailbox()
    taken: list[str | None] = ["nothing yet"]
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    assert mailbox.close() is None
    taker.join(timeout=10)
    assert taken[-1] is None


def test_a_closed_mailbox_returns_what_never_got_its_turn() -> None:
    mailbox: FrameMailbox[str] = FrameMailbox()
    mailbox.put("waiting")
    assert mailbox.close() == "waiting"
    assert mailbox.put("late") == "late"
    assert mailbox.take() is None
