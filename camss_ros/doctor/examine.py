"""All checks, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

from camss_ros.doctor.finding import Finding
from camss_ros.doctor.model import check_cache, check_golden, check_weights
from camss_ros.doctor.ros import check_ros, check_ros_packages
from camss_ros.doctor.software import check_numpy, check_python, check_pytorch, check_runtimes

Answer = TypeVar("Answer")


def examine() -> Iterator[Finding]:
    """What this machine has for the node; it takes a minute, and longer where graphs are built."""
    yield from check_python()
    yield from check_numpy()
    gpu = yield from _guarded("PyTorch", check_pytorch(), False)
    runtimes = yield from _guarded("backends", check_runtimes(gpu), [])
    yield from _guarded("ROS 2", check_ros(), None)
    yield from check_ros_packages()
    yield from check_cache()
    yield from check_weights()
    yield from check_golden(["torch", *(["compile"] if gpu else []), *runtimes])


def _guarded(
    check: str, findings: Generator[Finding, None, Answer], otherwise: Answer
) -> Generator[Finding, None, Answer]:
    """The findings; where an error ends them, it is one too: the checks after them go on."""
    try:
        return (yield from findings)
    except Exception as error:
        text = f"could not be checked: {type(error).__name__}: {error}"
        yield Finding(check, "WARN", text, "please report it")
        return otherwise
