"""Work beside this process, in one of its own that ends with it: building, measuring.

`python -m camss_ros.inference.beside MODULE ARGUMENT...` runs a module so; `Beside` starts that.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading

from camss_ros.inference.cache import discard_unfinished


class BesideError(RuntimeError):
    """The process failed; the message is the last line that it wrote to stderr."""


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
        )  # fmt: skip

    def result(self) -> str:
        """Wait for its end; the last line that it wrote to stdout. Raises BesideError."""
        assert self._process.stdout is not None
        last = ""
        with self._errors:
            for line in self._process.stdout:
                last = line.decode(errors="replace").strip() or last
            self._process.stdout.close()
            code = self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
        if code != 0:
            raise BesideError(lines[-1] if lines else f"ended with {code}")
        return last

    def close(self) -> None:
        """End it, if it has not ended; returns at once."""
        assert self._process.stdin is not None
        self._process.stdin.close()


def main(module: str, *arguments: str) -> None:
    """Run a module until it, or the process that started this one, ends."""
    with tempfile.TemporaryDirectory(prefix="camss_ros-") as scratch:
        tempfile.tempdir = scratch
        threading.Thread(target=_end_with_parent, args=[scratch], daemon=True).start()
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent(scratch: str) -> None:
    # unbuffered: a lock on the stream would be in the way of Python's end
    while os.read(0, 1):
        pass
    discard_unfinished()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    from camss_ros.inference import beside  # the module that others import, not `__main__`

    beside.main(*sys.argv[1:])
