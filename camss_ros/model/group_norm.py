"""Group norm (arXiv 1803.08494) for images whose channels lie side by side in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, but where it is compiled for a GPU.

    There the convolutions around it have the channels of a pixel side by side, 4 of a group beside
    124 of others. A reduction over a group would read 8 bytes out of 256 and fetch 32; one over
    each channel reads all that it fetches, and what is left to join is small.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape."""
        if torch.compiler.is_dynamo_compiling() and input.is_cuda and input.ndim == 4:
            return group_norm_by_channels(input, self.num_groups, self.weight, self.bias, self.eps)
        return super().forward(input)


def group_norm_by_channels(
    images: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """Group norm from the mean and variance of each channel.

    The variance of a group of channels of one size is the mean of theirs, and that of their means;
    nothing large is subtracted from something as large.

    Args:
        images: [B, C, H, W], C a multiple of `groups`.
        weight, bias: [C].

    Returns:
        [B, C, H, W] in the type of `images`; computed in float32.
    """
    variance, mean = torch.var_mean(images.float(), dim=(2, 3), correction=0)
    mean, variance = (each.unflatten(1, (groups, -1)) for each in (mean, variance))
    center = mean.mean(dim=2, keepdim=True)
    spread = (variance + (mean - center).square()).mean(dim=2, keepdim=True)
    scale = weight.float().view(groups, -1) * torch.rsqrt(spread + eps)
    center, scale = (each.expand_as(mean).flatten(1)[:, :, None, None] for each in (center, scale))
    normed = (images.float() - center) * scale + bias.float()[:, None, None]
    return normed.to(images.dtype)


def replace_group_norms(network: nn.Module) -> None:
    """Put a `GroupNorm` in the place of every `nn.GroupNorm`, with its parameters."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.GroupNorm:
                norm = GroupNorm(child.num_groups, child.num_channels, child.eps, child.affine)
                norm.weight, norm.bias = child.weight, child.bias
                setattr(module, name, norm)
