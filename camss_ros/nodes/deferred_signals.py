"""SIGINT and SIGTERM held back until the program asks."""

from __future__ import annotations

import signal
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class DeferredSignals:
    """While it is entered, signals wait for `check()`; main thread only.

    An exception from a signal handler could otherwise fall between the start of a process and the
    `with` block that ends it, and leave the process behind.
    """

    def __init__(self) -> None:
        self._caught: int | None = None

    def check(self) -> None:
        """Raise KeyboardInterrupt after SIGINT, SystemExit after SIGTERM."""
        if self._caught == signal.SIGINT:
            raise KeyboardInterrupt
        if self._caught is not None:
            raise SystemExit(128 + self._caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = number

    def __enter__(self) -> DeferredSignals:
        self._before = {number: signal.signal(number, self._catch) for number in _NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
