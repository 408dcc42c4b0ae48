"""How much memory something takes at its highest."""

from __future__ import annotations

from pathlib import Path

import torch

from camss_ros.resident_memory import resident_bytes


def reset_peak(device: torch.device) -> None:
    """From now on peaks are those of what follows."""
    # 5: the highest resident size becomes the present one (man 5 proc)
    Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """`resident_mb` of the process and, on a GPU, `cuda_mb` of PyTorch's tensors there."""
    peaks = {"resident_mb": resident_bytes(peak=True) / 1e6}
    if device.type == "cuda":
        peaks["cuda_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peaks
