"""The one thread that runs the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic

from camss_ros.nodes.frame_mailbox import Frame, FrameMailbox, Source


class InferenceWorker(Generic[Source, Frame]):
    """Processes the newest frames given to it, one of each source at a time, in a thread of its
    own.

    `process(frames, cancelled)` gets what is there when it is free, and waits for no source. It
    must not raise; it should return soon once `cancelled()` is true. `overtaken(source)` is called
    for each frame that never got its turn.
    """

    def __init__(
        self,
        process: Callable[[dict[Source, Frame], Callable[[], bool]], None],
        overtaken: Callable[[Source], None],
    ) -> None:
        self._process = process
        self._overtaken = overtaken
        self._mailbox: FrameMailbox[Source, Frame] = FrameMailbox()
        self._cancelled = threading.Event()
        # A daemon: a network stage that cannot be interrupted must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, source: Source, frame: Frame) -> None:
        """Hand over a frame; returns at once."""
        if self._mailbox.put(source, frame) is not None:
            self._overtaken(source)

    def cancel(self) -> None:
        """Give up the frames in work and in waiting; returns at once."""
        self._cancelled.set()
        for source in self._mailbox.close():
            self._overtaken(source)

    def join(self, timeout: float | None = None) -> bool:
        """Wait, after `cancel`, for the thread to end. False if it has not after `timeout` s."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while frames := self._mailbox.take():
            self._process(frames, self._cancelled.is_set)
