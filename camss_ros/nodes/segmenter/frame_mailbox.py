"""Newest-frame-wins hand-over between the executor and the inference thread."""

import threading
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
