"""How fast the machine multiplies matrices: what the speed of a network is a share of."""

from __future__ import annotations

import torch

from camss_ros.inference.stage_clock import StageClock

_REPEATS = 10
_WARM_UP = 2


@torch.inference_mode()
def matmul_peak(device: torch.device, dtype: torch.dtype, side: int | None = None) -> float:
    """Floating-point operations a second of the fastest of a few square products.

    Args:
        side: of the matrices; by default large enough to be bound by computing.
    """
    side = side or (8192 if device.type == "cuda" else 2048)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty(side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(_WARM_UP + _REPEATS):
        clock = StageClock(device)
        torch.mm(left, right, out=product)
        clock.mark("matmul")
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(clock.seconds()["matmul"])
    return 2 * side**3 / min(seconds[_WARM_UP:])
