"""The one thread of a node that does the work, and how it gets the newest frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Source = TypeVar("Source")
Frame = TypeVar("Frame")


class FrameMailbox(Generic[Source, Frame]):
    """Holds at most one frame of each source; a newer one takes its place. Thread-safe.

    All that is there is taken at once, so that no source waits for another or can starve it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: dict[Source, Frame] = {}
        self._closed = False

    def put(self, source: Source, frame: Frame) -> Frame | None:
        """Leave a frame. Returns the one that never got its turn: the older one of that source, if
        it was still here, or `frame` itself when the mailbox is closed."""
        with self._changed:
            if self._closed:
                return frame
            overtaken = self._frames.get(source)
            self._frames[source] = frame
            self._changed.notify()
            return overtaken

    def take(self) -> dict[Source, Frame]:
        """Wait for a frame and take all that are there; nothing once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frames)
            return self._empty()

    def close(self) -> dict[Source, Frame]:
        """Let every `take` return nothing from now on. Returns the frames that were waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._empty()

    def _empty(self) -> dict[Source, Frame]:
        frames, self._frames = self._frames, {}
        return frames


class Worker(Generic[Source, Frame]):
    """Processes the newest frames given to it, one of each source at a time, in a thread of its
    own.

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
    ) -> None:
        self._process = process
        self._dropped, self._failed = dropped, failed
        self._mailbox: FrameMailbox[Source, Frame] = FrameMailbox()
        self._cancelled = threading.Event()
        self._frames: dict[Source, Frame] = {}
        self._since: float | None = None
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
            self._frames, self._since = frames, time.monotonic()
            try:
                self._process(frames, self._cancelled.is_set)
            except Exception as error:
                if not self._cancelled.is_set():
                    self._failed(self._take_frames(), error)
            self._since = None
            for source in self._take_frames():
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
