"""Memory of the process and of its GPU."""

import torch

_MESSAGES = ("out of memory", "can't allocate memory", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the GPU, or the machine, has no memory left."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


def release_cached_memory(device: torch.device) -> None:
    """Give memory that PyTorch keeps for later back to the GPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_in_use(device: torch.device) -> int:
    """Bytes that PyTorch holds on a GPU; 0 on the CPU."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0
