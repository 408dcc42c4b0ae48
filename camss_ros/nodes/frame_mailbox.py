"""Newest-frame-wins hand-over between the executor and the inference thread."""

import threading
from typing import Generic, TypeVar

Frame = TypeVar("Frame")


class FrameMailbox(Generic[Frame]):
    """Holds at most one frame; a newer one takes its place. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._closed = False

    def put(self, frame: Frame) -> Frame | None:
        """Leave a frame. Returns the one that never got its turn: the older one, if it was still
        here, or `frame` itself when the mailbox is closed."""
        with self._changed:
            if self._closed:
                return frame
            overtaken, self._frame = self._frame, frame
            self._changed.notify()
            return overtaken

    def take(self) -> Frame | None:
        """Wait for a frame and take it; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frame is not None)
            if self._closed:
                return None
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> Frame | None:
        """Let every `take` return None from now on. Returns the frame that was waiting."""
        with self._changed:
            self._closed = True
            waiting, self._frame = self._frame, None
            self._changed.notify_all()
            return waiting
