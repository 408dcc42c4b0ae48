"""ROS nodes as processes of their own, whose end is noticed and explained, and what isolates them.

The environment of a demo: its own domain, this machine only, room for large images.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from camss_ros.errors import CamssError
from camss_ros.inference.beside import run_with_parent
from camss_ros.resources import config_file

_STOP_TIME = 5.0  # s from SIGINT to SIGKILL
_LAST_LINES = 20

VIDEO_PUBLISHER = "camss_ros.nodes.harness.video_publisher"
Parameters = Mapping[str, str | int | float | bool | Sequence[int]]  # of a ROS node


class ChildFailedError(CamssError):
    """A child process failed; the message has its last output."""


class ChildProcess:
    """`python -m MODULE` with ROS parameters, its output in a log file; stopped by SIGINT, also
    where this process is killed.

    with ChildProcess("camss_ros.run_segmenter", {"steps": 4}, env, log) as child:
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
                [sys.executable, "-m", __name__, module, "--ros-args", *arguments],
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,  # which ends with this process
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

    def check_running(self) -> None:
        """Raise ChildFailedError if the process ended at all."""
        self.check()
        if not self.running:
            raise self.failure("ended by itself")

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
        assert self._process.stdin is not None
        self._process.stdin.close()

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# With higher domains the ports reach those that Linux hands out by itself.
_DOMAINS = range(1, 102)
_SHARED_MEMORY = Path("/dev/shm")
_reserved: dict[int, int] = {}  # domain: the file that keeps it


def isolate() -> dict[str, str]:
    """Environment variables for the processes of one demo.

    Raises:
        OSError: no domain is free.
        FileNotFoundError: the package's configuration is not installed.
    """
    environment = {
        **large_images(),
        "ROS_DOMAIN_ID": str(_free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_STATIC_PEERS": "",
    }
    if os.environ.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"
    return environment


def large_images() -> dict[str, str]:
    """The environment variable with which Fast DDS does not lose large images on one machine.

    Raises:
        FileNotFoundError: the package's configuration is not installed.
    """
    # Later releases know the old names, and warn about them.
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    variable = f"{'FASTRTPS' if old else 'FASTDDS'}_DEFAULT_PROFILES_FILE"
    return {variable: str(config_file("dds/fastdds_large_images.xml"))}


def leftover_queues(domain: int) -> list[Path]:
    """Queues in shared memory that killed processes of a ROS domain left behind (Fast DDS).

    The next process takes them as they are, short where the killed one had no profile for large
    images.
    """
    return [path for path, port in _queues() if port in _ports(domain) and not _locked(path)]


def _queues() -> Iterator[tuple[Path, int]]:
    """Queues in shared memory, of whatever domain, and their ports."""
    for path in _SHARED_MEMORY.glob("fast*_port*"):  # fastrtps before Kilted
        _, _, port = path.name.rpartition("port")
        if port.isdecimal():
            yield path, int(port)


def _locked(queue: Path) -> bool:
    """Whether a process that receives from a queue lives."""
    for suffix in ("_el", "_sl"):  # for one receiver and for several
        with suppress(FileNotFoundError, PermissionError), open(f"{queue}{suffix}", "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def _ports(domain: int) -> range:
    """Of the participants of a ROS domain (RTPS 2.5, section 9.6.2.3)."""
    return range(7400 + 250 * domain, 7400 + 250 * (domain + 1))


def reserve_domain(domain: int) -> None:
    """Keep a ROS domain from other processes of this machine, until this one ends or releases it.

    Raises:
        OSError: a participant of this machine lives in it, or another process has reserved it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", _ports(domain)[10]))  # of the first participant
    if domain not in _reserved:
        # Its nodes take seconds until others could see them. An abstract name is of the network
        # that the ports are of, and ends with the process.
        with socket.socket(socket.AF_UNIX) as lock:
            lock.bind(f"\0camss_ros domain {domain}")
            _reserved[domain] = lock.detach()


def release_domain(domain: int) -> None:
    """Let others have it."""
    os.close(_reserved.pop(domain))


def _free_domain() -> int:
    """A ROS domain that is nobody else's on this machine, without left queues if possible."""
    left = {port for path, port in _queues() if not _locked(path)}
    domains = random.sample(_DOMAINS, len(_DOMAINS))
    for domain in sorted(domains, key=lambda domain: not left.isdisjoint(_ports(domain))):
        with suppress(OSError):
            reserve_domain(domain)
            return domain
    raise OSError("every ROS domain from 1 to 101 is in use on this machine")


def start_still_camera(
    folder: Path, rate: float, count: int, environment: Mapping[str, str], log: Path
) -> ChildProcess:
    """Send `count` images of a folder, round and round from memory, once somebody listens.

    Args:
        rate: Hz.
        environment: of the process, beside that of this one.
        log: file for its output.
    """
    parameters: Parameters = {
        "path": str(folder), "rate": float(rate), "frames": count, "loop": True, "preload": True,
        "wait_for_subscriber": True,
    }  # fmt: skip
    return ChildProcess(VIDEO_PUBLISHER, parameters, environment, log)


def _stop_here() -> None:
    """As `ChildProcess.stop` does."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_STOP_TIME)
    os._exit(1)


if __name__ == "__main__":
    run_with_parent(_stop_here, *sys.argv[1:])
