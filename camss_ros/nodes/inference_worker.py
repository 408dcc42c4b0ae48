"""The one thread that runs the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic

from camss_ros.nodes.frame_mailbox import Frame, FrameMailbox


class InferenceWorker(Generic[Frame]):
    """Processes the newest frame given to it, one at a time, in a thread of its own.

    `process(frame, cancelled)` must not raise; it should return soon once `cancelled()` is true.
    `overtaken()` is called for each frame that never got its turn.
    """

    def __init__(
        self,
        process: Callable[[Frame, Callable[[], bool]], None],
        overtaken: Callable[[], None],
    ) -> None:
        self._process = process
        self._overtaken = overtaken
        self._mailbox: FrameMailbox[Frame] = FrameMailbox()
        self._cancelled = threading.Event()
        # A daemon: a network stage that cannot be interrupted must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, frame: Frame) -> None:
        """Hand over a frame; returns at once."""
        if self._mailbox.put(frame) is not None:
            self._overtaken()

    def cancel(self) -> None:
        """Give up the frames in work and in waiting; returns at once."""
        self._cancelled.set()
        if self._mailbox.close() is not None:
            self._overtaken()

    def join(self, timeout: float | None = None) -> bool:
        """Wait, after `cancel`, for the thread to end. False if it has not after `timeout` s."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (frame := self._mailbox.take()) is not None:
            self._process(frame, self._cancelled.is_set)
