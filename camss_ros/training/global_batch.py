"""Statistics of the global batch, whose samples are split over the processes.

A loss that divides by a sum over the batch is not the mean of the losses of its parts. So every
process adds up its part, the sums are exchanged, and each computes the same loss from them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def global_sum(x: Tensor) -> Tensor:
    """Sum of `x` over the processes; gradients flow into the own part alone.

    The sum of the processes' gradients is then the gradient of the loss of the global batch.
    """
    if world_size() == 1:
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return x + (total - x.detach())


class _AllReduce(torch.autograd.Function):
    """Sum over the processes; a gradient is the sum of theirs.

    The one in `torch.distributed.nn.functional` is deprecated, and so is missing one day.
    """

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of the global batch while training.

    `torch.nn.SyncBatchNorm` does the same, but on GPUs only. The parts must be of one shape.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        h = x.float()
        count = world_size() * h.numel() // h.shape[1]
        mean = _AllReduce.apply(h.sum(dim=(0, 2, 3))) / count
        centered = h - mean[:, None, None]
        variance = _AllReduce.apply(centered.square().sum(dim=(0, 2, 3))) / count
        self._update(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def synchronize_batch_norm(module: nn.Module) -> None:
    """Make every `BatchNorm2d` below `module` one over the global batch; names and weights stay."""
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = GlobalBatchNorm2d
