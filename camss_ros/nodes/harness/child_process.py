"""A ROS node as a process of its own, whose end is noticed and explained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_STOP_TIME = 5.0  # s from SIGINT to SIGKILL
_LAST_LINES = 20

Parameters = Mapping[str, str | int | float | bool | Sequence[int]]  # of a ROS node


class ChildFailedError(RuntimeError):
    """A child process failed; the message has its last output."""


class ChildProcess:
    """`python -m MODULE` with ROS parameters, its output in a log file; stopped by SIGINT.

    with ChildProcess("camss_ros.nodes.segmenter.node", {"steps": 4}, env, log) as child:
        child.check()
    """

    def __init__(
        self,
        module: str,
        parameters: Parameters,
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self.name = module.rpartition(".")[2]
        self._log = log
        # JSON is YAML, which keeps a path such as "123" a string.
        assignments = [f"{name}:={json.dumps(value)}" for name, value in parameters.items()]
        arguments = [part for assignment in assignments for part in ("-p", assignment)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--ros-args", *arguments],
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal reaches the parent alone, which stops its children in turn.
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise ChildFailedError if the process ended with an error."""
        code = self._process.poll()
        if code:
            raise self.failure(
                f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            )

    def failure(self, what: str) -> ChildFailedError:
        """The error that says `what` happened, and the last output."""
        with self._log.open(errors="replace") as file:
            lines = "".join(f"  {line}" for line in deque(file, _LAST_LINES)).rstrip()
        return ChildFailedError(f"{self.name} {what}; its last output ({self._log}):\n{lines}")

    def stop(self) -> None:
        """SIGINT, and SIGKILL if that is not enough."""
        if self.running:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_TIME)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
