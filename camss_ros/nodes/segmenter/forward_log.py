"""Messages of Python's logging in the log of a node."""

from __future__ import annotations

import logging
from typing import Any


class _NodeHandler(logging.Handler):
    """Gives records to a node's logger. rclpy ties severity to the line of code: one for each."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
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
