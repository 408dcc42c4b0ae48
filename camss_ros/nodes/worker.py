"""The one thread of a node that does the work, and how it gets the newest frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Source = TypeVar("Source")
Frame = TypeVar("Frame")


class FrameMailbox(Generic[Source, Frame]):
    """Holds the newest frames of each source, `waiting` at most. Thread-safe.

    The oldest of each source are taken together, so that no source waits for another or can starve
    it.
    """

    def __init__(self, waiting: int = 1) -> None:
        self._changed = threading.Condition()
        self._frames: dict[Source, deque[tuple[float, Frame]]] = {}  # each after its time, s
        self._waiting = waiting
        self._closed = False

    def put(self, source: Source, frame: Frame) -> Frame | None:
        """Leave a frame. Returns the one that never gets its turn: the oldest one of that source,
        if too many were still here, or `frame` itself when the mailbox is closed."""
        with self._changed:
            if self._closed:
                return frame
            frames = self._frames.setdefault(source, deque())
            overtaken = frames.popleft()[1] if len(frames) == self._waiting else None
            frames.append((time.monotonic(), frame))
            self._changed.notify()
            return overtaken

    def take(self) -> dict[Source, Frame]:
        """Wait for a frame and take one of each source that has any; nothing once the mailbox is
        closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frames)
            taken = {source: frames.popleft()[1] for source, frames in self._frames.items()}
            self._frames = {source: frames for source, frames in self._frames.items() if frames}
            return taken

    def discard(self, longest: float) -> list[Source]:
        """Remove what has waited for longer than so many s, but for the newest of each source.
        Returns the source of each frame that was removed."""
        oldest = time.monotonic() - longest
        with self._changed:
            left = []
            for source, frames in self._frames.items():
                while len(frames) > 1 and frames[0][0] < oldest:
                    frames.popleft()
                    left.append(source)
            return left

    def close(self) -> list[Source]:
        """Let every `take` return nothing from now on. Returns the source of each frame that was
        waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            left = [source for source, frames in self._frames.items() for _ in frames]
            self._frames = {}
            return left


class Worker(Generic[Source, Frame]):
    """Processes the newest frames given to it, one of each source at a time, in a thread of its
    own. Of each source `waiting` frames at most wait for their turn, and no longer than the longest
    of the last `waiting` + 1 calls took, unless they are the newest: where the work does not keep
    up with the frames, they do not get older and older.

    `process(frames, cancelled)` gets what is there when it is free, and waits for no source. It
    removes each frame from `frames` as soon as it is counted, and should return soon once
    `cancelled()` is true. An exception does not end the thread: `failed(sources, error)` is called
    with it and the sources of the frames that were left. Where the worker was cancelled,
    `dropped(source)` is called for each of them, as for each frame that never got its turn.
    """

    def __init__(
        self,
        process: Callable[[dict[Source, Frame], Callable[[], bool]], None],
        dropped: Callable[[Source], None],
        failed: Callable[[Sequence[Source], Exception], None],
        name: str = "inference",
        waiting: int = 1,
    ) -> None:
        self._process = process
        self._dropped, self._failed = dropped, failed
        self._mailbox: FrameMailbox[Source, Frame] = FrameMailbox(waiting)
        self._cancelled = threading.Event()
        self._frames: dict[Source, Frame] = {}
        self._since: float | None = None
        self._took: deque[float] = deque(maxlen=waiting + 1)  # s
        # A daemon: a stage of a network that cannot be interrupted must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, source: Source, frame: Frame) -> None:
        """Hand over a frame; returns at once."""
        if self._mailbox.put(source, frame) is not None:
            self._dropped(source)

    def cancel(self) -> None:
        """Give up the frames in work and in waiting; returns at once."""
        self._cancelled.set()
        for source in self._mailbox.close():
            self._dropped(source)

    def join(self, timeout: float | None = None) -> bool:
        """Wait, after `cancel`, for the thread to end.

        False if it has not after `timeout` s; the frames in work count as dropped then, whatever
        comes of them.
        """
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return True
        for source in self._take_frames():
            self._dropped(source)
        return False

    def time_in_work(self) -> float:
        """Seconds since the frames in work were taken; 0 while there are none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        while frames := self._mailbox.take():
            self._frames = frames
            self._since = since = time.monotonic()
            try:
                self._process(frames, self._cancelled.is_set)
            except Exception as error:
                if not self._cancelled.is_set():
                    self._failed(self._take_frames(), error)
            self._since = None
            for source in self._take_frames():
                self._dropped(source)
            self._took.append(time.monotonic() - since)
            for source in self._mailbox.discard(max(self._took)):
                self._dropped(source)

    def _take_frames(self) -> list[Source]:
        """The sources of the frames left in work, each to one caller."""
        left = []
        while self._frames:
            try:
                left.append(self._frames.popitem()[0])
            except KeyError:  # by the other thread
                break
        return left
