"""How a process ends by a signal: SIGINT, SIGTERM, and SIGHUP when its terminal is closed."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def exit_on_signals() -> None:
    """End as after Ctrl-C from now on: what is open is closed, temporary folders are removed."""
    for number in end_signals():
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def end_signals() -> list[signal.Signals]:
    """What tells a process to end, beside Ctrl-C."""
    below_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, *([] if below_nohup else [signal.SIGHUP])]


class DeferredSignals:
    """While it is entered, signals wait for `check()`; main thread only.

    An exception from a signal handler could otherwise fall between the start of a process and the
    `with` block that ends it, and leave the process behind, or where exceptions are ignored, and
    be lost.
    """

    def __init__(self) -> None:
        self._caught: int | None = None

    def check(self) -> None:
        """Raise KeyboardInterrupt after SIGINT, SystemExit after the others."""
        if self._caught == signal.SIGINT:
            raise KeyboardInterrupt
        if self._caught is not None:
            raise SystemExit(128 + self._caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = number

    def __enter__(self) -> DeferredSignals:
        numbers = (signal.SIGINT, *end_signals())
        self._before = {number: signal.signal(number, self._catch) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
