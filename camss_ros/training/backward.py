"""How modules compute while training: checkpointed blocks, and float32 where a CPU is slow in bf16.

What they compute stays the same, and so does inference.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from camss_ros.model.transformer import Block


def depthwise_in_float32(module: nn.Module) -> None:
    """Run depthwise convolutions of kernel 5 or stride 2 in float32 under autocast.

    Their backward pass in bfloat16 is several times slower on a CPU (PyTorch 2.13).
    """
    for child in module.modules():
        if not isinstance(child, nn.Conv2d) or not child.groups == child.in_channels > 1:
            continue
        if child.kernel_size[0] == 5 or child.stride[0] == 2:
            child.forward = partial(_in_float32, child.forward)  # type: ignore[method-assign]


def _in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float())


def checkpoint_blocks(module: nn.Module) -> None:
    """Keep only the inputs of transformer blocks for the backward pass, which runs them again."""
    for child in module.modules():
        if isinstance(child, Block):
            child.forward = partial(  # type: ignore[method-assign]
                checkpoint, child.forward, use_reentrant=False
            )
