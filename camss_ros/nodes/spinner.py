"""A thread that spins an executor and ends without a race."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.executors import Executor


class Spinner:
    """Calls `first`, then what `executor` has ready until `end`, then `last`, in a thread."""

    def __init__(
        self,
        executor: Executor,
        first: Callable[[], None] = lambda: None,
        last: Callable[[], None] = lambda: None,
    ) -> None:
        self.failed = False
        self._executor, self._first, self._last = executor, first, last
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="executor", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Return when nothing is called any more and the executor is shut down, or was before."""
        # rclpy's `Executor.shutdown` destroys what it wakes the executor with, and one that was
        # about to wait would sleep on. A task is not missed.
        if self._thread.is_alive():
            self._executor.create_task(self._ended.set)
            self._thread.join()
        self._executor.shutdown()

    def _spin(self) -> None:
        try:
            self._first()
            while not self._ended.is_set():
                self._executor.spin_once()
        except BaseException:
            self.failed = True
            raise
        finally:
            self._last()
