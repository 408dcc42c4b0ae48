"""The log of a node: what Python's logging says, and warnings that would come with every image."""

from __future__ import annotations

import logging
import time
from typing import Any

WARNING_PERIOD = 10.0  # s, for each kind of warning


def readable(text: str) -> str:
    """Text as ROS takes it: names of files may be no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


class SeldomWarnings:
    """Gives warnings to a node's logger, those of one kind now and then only.

    rclpy throttles by line of code, which would let one kind of fault hide another.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._warned: dict[str, float] = {}

    def __call__(self, kind: str, message: str) -> None:
        now = time.monotonic()
        if now - self._warned.get(kind, -WARNING_PERIOD) >= WARNING_PERIOD:
            self._warned[kind] = now
            self._logger.warning(message)


class _NodeHandler(logging.Handler):
    """Gives records to a node's logger. rclpy ties severity to the line of code: one for each."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        message = readable(record.getMessage())
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        elif record.levelno >= logging.INFO:
            self._logger.info(message)
        else:
            self._logger.debug(message)


def forward_log(name: str, logger: Any) -> None:
    """Send what the Python logger `name` and those below it say to a node's logger instead."""
    source = logging.getLogger(name)
    for handler in source.handlers[:]:
        if isinstance(handler, _NodeHandler):  # of an earlier node of this process
            source.removeHandler(handler)
    source.addHandler(_NodeHandler(logger))
    source.setLevel(logging.INFO)
    source.propagate = False
