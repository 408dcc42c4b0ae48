"""Work beside this process, in one of its own that ends with it: building, measuring.

`python -m camss_ros.inference.beside MODULE ARGUMENT...` runs a module so; `Beside` starts that.
"""

from __future__ import annotations

import logging.handlers
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TypeAlias

from camss_ros.inference.graphs.cache import discard_unfinished

Turn: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Within what it returns, nothing else of this process computes."""

_WANTS_TURN = b"turn\n"
_LONGEST_TURN = 30.0  # s
_turns = threading.Semaphore(0)


class BesideError(RuntimeError):
    """The process failed; the message is what `failure_in` finds in what it wrote to stderr."""


def failure_in(errors: str) -> str | None:
    """Why a Python process ended, by its stderr.

    Returns:
        The first line of the last exception, whose others say what to set to learn more, or else
        the last one that is not indented.
    """
    _, traced, rest = errors.rpartition("Traceback (most recent call last):\n")
    lines = [line for line in rest.splitlines() if line.strip() and not line.startswith(" ")]
    return lines[0 if traced else -1] if lines else None


def kept_warnings() -> Callable[[], list[str]]:
    """Keep what this package warns of from now on, for a process whose result tells it: what is
    returned gives them."""
    kept = logging.handlers.BufferingHandler(capacity=1000)
    kept.setLevel(logging.WARNING)
    logging.getLogger("camss_ros").addHandler(kept)
    return lambda: [record.getMessage() for record in kept.buffer]


class Beside:
    """A module as a process of its own, such as `python -m MODULE ARGUMENT...`.

    Its standard input is a pipe from here. When that ends, because of `close` or because this
    process has ended in whatever way, it deletes the cache files that it was writing, and ends.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by `result`
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            # Ctrl-C in the terminal reaches the parent alone, with which this one ends.
            start_new_session=True,
        )  # fmt: skip

    def result(self, turn: Turn = nullcontext) -> str:
        """Wait for its end; the last line that it wrote to stdout.

        Whenever the module wants to have the processor to itself (`has_turn`), it has to wait
        until `turn()` is entered, which is left as soon as it is done.

        Raises:
            BesideError: it failed, or a turn takes more than half a minute.
        """
        output = self._process.stdout
        assert output is not None
        last = ""
        with self._errors:
            try:
                for line in output:
                    if line.endswith(_WANTS_TURN):
                        with turn():
                            self._give_turn()
                    else:
                        last = line.decode(errors="replace").strip() or last
            finally:
                self.close()
                output.close()
                code = self._process.wait()
            self._errors.seek(0)
            errors = self._errors.read().decode(errors="replace")
        if code == -signal.SIGKILL:
            raise BesideError(f"killed: out of memory, or a turn took over {_LONGEST_TURN:g} s")
        if code != 0:
            raise BesideError(failure_in(errors) or f"ended with {code}")
        return last

    def _give_turn(self) -> None:
        """Let it go on, until it is done or has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        limit = threading.Timer(_LONGEST_TURN, self._process.kill)
        limit.start()
        with suppress(OSError, ValueError):  # it has ended, or was closed
            self._process.stdin.write(b".")
            self._process.stdin.flush()
            self._process.stdout.readline()
        limit.cancel()

    def close(self) -> None:
        """End it, if it has not ended; returns at once."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended by itself
            self._process.stdin.close()


@contextmanager
def has_turn() -> Iterator[None]:
    """In the module: wait until nothing else of the process that started this one computes."""
    print(_WANTS_TURN.decode(), end="", flush=True)
    _turns.acquire()
    try:
        yield
    finally:
        print("done", flush=True)


def main(module: str, *arguments: str) -> None:
    """Run a module until it, or the process that started this one, ends."""
    with tempfile.TemporaryDirectory(prefix="camss_ros-") as scratch:
        tempfile.tempdir = scratch
        run_with_parent(lambda: _end(scratch), module, *arguments)


def run_with_parent(end: Callable[[], object], module: str, *arguments: str) -> None:
    """As `python -m MODULE ARGUMENT...`; `end` is called, in a thread, when standard input ends: a
    pipe from the process that started this one, which ends with it."""
    threading.Thread(target=_await_end, args=[end], daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _await_end(end: Callable[[], object]) -> None:
    # unbuffered: a lock on the stream would be in the way of Python's end
    while os.read(0, 1):
        _turns.release()
    end()


def _end(scratch: str) -> None:
    discard_unfinished()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    from camss_ros.inference import beside  # the module that others import, not `__main__`

    beside.main(*sys.argv[1:])
