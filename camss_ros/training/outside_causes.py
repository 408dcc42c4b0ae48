"""What ends a training that is none of its own doing, told as a sentence."""

from __future__ import annotations

from camss_ros.inference.memory import is_out_of_memory

_WORKER = "DataLoader worker"  # how PyTorch's message of one that is gone begins


def outside_cause(error: RuntimeError | ConnectionError) -> str | None:
    """What happened and what to do, where memory or a data worker is gone; None otherwise."""
    reason = str(error).strip().split("\n", 1)[0].removesuffix(".")
    if isinstance(error, ConnectionError):  # to one that PyTorch does not know yet to be gone
        reason = f"{_WORKER}: {reason}"
    if reason.startswith(_WORKER):
        return f"{reason}. If memory was short, take fewer data.workers; run the same command again"
    if is_out_of_memory(error):
        return f"{reason}. A smaller loop.batch, or more loop.accumulation, needs less"
    return None
