"""Vector quantisation of latents (VQ-VAE, arXiv 1711.00937) with a codebook of moving averages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_DECAY = 0.95  # of the moving averages
_DEAD_BELOW = 0.1  # of the places that a code had if all had equally many


@dataclass(frozen=True)
class Quantized:
    """What a quantiser gives.

    Attributes:
        latents: [B, C, h, w] float32, a code at each place; its gradient passes to the input.
        codes: [B, h, w] int64, the codes' indices.
        commitment_loss: scalar, mean squared distance of the input from its codes.
    """

    latents: Tensor
    codes: Tensor
    commitment_loss: Tensor


class VectorQuantizer(nn.Module):
    """Replaces the latent of each place by the nearest of `size` codes.

    In training the codebook starts at latents of the first batch, then follows the mean of the
    latents that each code stands for (exponential moving averages, appendix A.1 of the paper); a
    code that stands for next to none is moved onto a random latent of the batch. diffusers' layer
    learns its codebook by gradients and leaves unused codes where they are, which loses most of a
    large codebook.

    Args:
        size: number of codes.
        channels: of a latent.

    Raises:
        ValueError: less than one code.
    """

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a codebook of {size} codes: expected at least 1")
        self.size = size
        self.codebook: Tensor
        self.counts: Tensor
        self.sums: Tensor
        self.started: Tensor
        self.register_buffer("codebook", torch.randn(size, channels))
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", self.codebook.clone())
        self.register_buffer("started", torch.tensor(False))

    def forward(self, latents: Tensor) -> Quantized:
        """[B, C, h, w] latents -> their codes; in training mode the codebook moves."""
        latents = latents.float()
        flat = latents.detach().movedim(1, -1).flatten(0, -2)
        # Half precision would confuse neighbouring codes.
        with torch.autocast(latents.device.type, enabled=False):
            if self.training and not self.started:
                self._start(flat)
            # |z - e|^2 without |z|^2, which all codes share
            distance = self.codebook.square().sum(dim=1) - 2 * flat @ self.codebook.T
            codes = distance.argmin(dim=1)
            nearest = self.codebook[codes]
            if self.training:
                self._follow(flat, codes)
        shape = (latents.shape[0], *latents.shape[2:])
        quantized = nearest.view(*shape, -1).movedim(-1, 1)
        return Quantized(
            latents + (quantized - latents).detach(),
            codes.view(shape),
            functional.mse_loss(latents, quantized),
        )

    @torch.no_grad()
    def _start(self, flat: Tensor) -> None:
        self.codebook.copy_(_random_rows(flat, self.size))
        share = len(flat) / self.size
        self.sums.copy_(self.codebook * share)
        self.counts.fill_(share)
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, flat: Tensor, codes: Tensor) -> None:
        counts = torch.bincount(codes, minlength=self.size).to(self.counts.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, flat)
        self.counts.lerp_(counts, 1 - _DECAY)
        self.sums.lerp_(sums, 1 - _DECAY)
        share = len(flat) / self.size
        dead = self.counts < _DEAD_BELOW * share
        replacement = _random_rows(flat, self.size) * share
        self.sums.copy_(torch.where(dead[:, None], replacement, self.sums))
        self.counts.masked_fill_(dead, share)
        self.codebook.copy_(self.sums / self.counts[:, None])


def _random_rows(values: Tensor, count: int) -> Tensor:
    """`count` random rows of [n, C]; without repetition as long as they last."""
    order = torch.randperm(len(values), device=values.device)
    return values[order.repeat(-(-count // len(values)))[:count]]


def perplexity(codes_used: Tensor) -> float:
    """Effective number of codes: exp of the entropy of the usage counts [size]; 1 to size."""
    shares = codes_used.double() / codes_used.sum()
    return float(torch.special.entr(shares).sum().exp())
