"""Memory of the process and of its GPU."""

import logging

import torch

_log = logging.getLogger(__name__)

_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    # of cuBLAS and cuDNN, which allocate for themselves
    "_ALLOC_FAILED",
    "_ALLOCATION_FAILED",
    # PyTorch, where there is no room for what any algorithm of a convolution needs beside its
    # result: pytorch/pytorch issue 108645
    "unable to find an engine to execute this computation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the GPU, or the machine, has no memory left."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


def release_cached_memory(device: torch.device) -> None:
    """Give memory that PyTorch keeps for later back to the GPU; where that fails, warn."""
    if device.type == "cuda":
        try:
            torch.cuda.empty_cache()
        except RuntimeError as error:  # a GPU that is gone; before PyTorch 2.12 a failed capture
            reason = str(error).strip().split("\n", 1)[0]
            _log.warning("PyTorch does not give memory back to the GPU: %s", reason)


def memory_in_use(device: torch.device) -> int:
    """Bytes that PyTorch holds on a GPU; 0 on the CPU."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0
