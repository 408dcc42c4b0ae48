"""What ends a training that is none of its own doing, told as a sentence."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from camss_ros.inference.memory import is_out_of_memory
from camss_ros.training.run_folder import TrainingError

_WORKER = "DataLoader worker"  # how PyTorch's message of one that is gone begins


@contextmanager
def outside_causes(last_good: Callable[[], str]) -> Iterator[None]:
    """Raises TrainingError where memory, the room on a disk or a data worker is gone in the block.

    Args:
        last_good: says what a resumed run begins with.
    """
    try:
        try:
            yield
        except ConnectionError:
            time.sleep(1)  # PyTorch's signal handler says that a worker is gone here, not later
            raise
    except (RuntimeError, OSError) as error:
        if (cause := _cause(error)) is None:
            raise
        raise TrainingError(f"{cause}; {last_good()}") from error


def _cause(error: RuntimeError | OSError) -> str | None:
    """What happened and what to do; None for what is no outside cause."""
    reason = str(error).strip().split("\n", 1)[0].removesuffix(".")
    if isinstance(error, ConnectionError):  # to one that PyTorch does not know yet to be gone
        reason = f"{_WORKER}: {reason}"
    if reason.startswith(_WORKER):
        return f"{reason}. If memory was short, take fewer data.workers; run the same command again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}: make room and run the same command again"  # by TensorBoard
    if is_out_of_memory(error):
        return f"{reason}. A smaller loop.batch, or more loop.accumulation, needs less"
    return None
