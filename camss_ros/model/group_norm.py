"""Group norm (arXiv 1803.08494) for images whose channels lie side by side in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, but for images on a GPU, where it is compiled or computes in bfloat16.

    There the convolutions around it have the channels of a pixel side by side, 4 of a group beside
    124 of others. A reduction over a group would read 8 bytes out of 256 and fetch 32; one over
    each channel reads all that it fetches, and what is left to join is small. PyTorch's own kernel
    wants each channel by itself: it turns the image around before, and the next convolution after.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape."""
        if input.is_cuda and input.ndim == 4:
            given = (input, self.num_groups, self.weight, self.bias, self.eps)
            if torch.compiler.is_dynamo_compiling():
                return group_norm_by_channels(*given)
            if input.dtype == torch.bfloat16 and not input.requires_grad:
                return bfloat16_group_norm(*given)
        return super().forward(input)


def group_norm_by_channels(
    images: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """Group norm from the mean and variance of each channel, as operations to compile.

    Args:
        images: [B, C, H, W], C a multiple of `groups`.
        weight, bias: [C].

    Returns:
        [B, C, H, W] in the type of `images`; computed in float32.
    """
    variance, mean = torch.var_mean(images.float(), dim=(2, 3), correction=0)
    center, spread = _of_groups(mean, variance, groups)
    scale = weight.float() * torch.rsqrt(spread + eps)
    center, scale = (each[:, :, None, None] for each in (center, scale))
    normed = (images.float() - center) * scale + bias.float()[:, None, None]
    return normed.to(images.dtype)


def bfloat16_group_norm(
    images: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """Group norm from the mean and variance of each channel, in few operations, each a kernel.

    For inference: a batch norm has no gradient by its statistics. No image is kept in float32. In
    float16 differences of the large values that the official decoder has may overflow.

    Args:
        images: [B, C, H, W] bfloat16, C a multiple of `groups`.
        weight, bias: [C].

    Returns:
        [B, C, H, W] bfloat16, in the memory format of `images`.
    """
    mean = images.mean(dim=(2, 3), dtype=torch.float32)
    near = mean.to(images.dtype)
    distance = torch.linalg.vector_norm(
        images - near[:, :, None, None], dim=(2, 3), dtype=torch.float32
    )
    pixels = images.shape[2] * images.shape[3]
    variance = (distance.square() / pixels - (mean - near).square()).clamp(min=0)
    center, spread = _of_groups(mean, variance, groups)
    # with the statistics of its groups a batch norm is a group norm
    normed = [
        functional.batch_norm(*each, weight.float(), bias.float(), eps=eps)
        for each in zip(images.split(1), center, spread, strict=True)
    ]
    return normed[0] if len(normed) == 1 else torch.cat(normed)


def _of_groups(mean: Tensor, variance: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and variance [B, C] of each channel's group, from those of the channels.

    The variance of a group of channels of one size is the mean of theirs, and that of their means;
    nothing large is subtracted from something as large.
    """
    mean, variance = (each.unflatten(1, (groups, -1)) for each in (mean, variance))
    center = mean.mean(dim=2, keepdim=True)
    spread = (variance + (mean - center).square()).mean(dim=2, keepdim=True)
    return center.expand_as(mean).flatten(1), spread.expand_as(mean).flatten(1)


def replace_group_norms(network: nn.Module) -> None:
    """Put a `GroupNorm` in the place of every `nn.GroupNorm`, with its parameters."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.GroupNorm:
                norm = GroupNorm(child.num_groups, child.num_channels, child.eps, child.affine)
                norm.weight, norm.bias = child.weight, child.bias
                setattr(module, name, norm)
