"""The per-token diffusion MLP (paper section 3.3; MAR's diffusion head, arXiv 2406.11838).

It denoises every latent token on its own, conditioned on the transformer's output for that token
and on the diffusion time. Attribute names follow the official checkpoint (`diffloss.net.*`).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from camss_ros.model.config import DenoiserConfig

_EPS = 1e-6


def sinusoidal_embedding(t: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Cosines then sines of `t` at `dim / 2` geometric frequencies.

    Args:
        t: [n] diffusion times, 0 to 999; may be fractional.
        dim: width of the embedding, even.

    Returns:
        [n, dim] float32.
    """
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-math.log(max_period) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """Sinusoidal time embedding followed by a two-layer MLP."""

    def __init__(self, width: int, frequency_dim: int = 256) -> None:
        super().__init__()
        self.frequency_dim = frequency_dim
        self.mlp = nn.Sequential(
            nn.Linear(frequency_dim, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Tensor) -> Tensor:
        """[n] times -> [n, width]."""
        embedding = sinusoidal_embedding(t, self.frequency_dim)
        return self.mlp(embedding.to(next(self.mlp.parameters()).dtype))


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """Zero gates and output (arXiv 2406.11838): the untrained network predicts zero."""
    linear = nn.Linear(inputs, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class ResidualBlock(nn.Module):
    """Residual MLP whose norm is modulated (adaLN) and whose output is gated by the condition.

    It takes SiLU(condition), which all blocks share.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_ln = nn.LayerNorm(width, eps=_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), _zero_linear(width, 3 * width))

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """[..., width], and the condition of that shape -> [..., width]."""
        shift, scale, gate = self.adaLN_modulation[1](activated).chunk(3, dim=-1)
        return x + gate * self.mlp(_modulate(self.in_ln(x), shift, scale))


class FinalLayer(nn.Module):
    """adaLN norm without own parameters, then a projection; takes SiLU(condition)."""

    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.width = width
        self.linear = _zero_linear(width, out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), _zero_linear(width, 2 * width))

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """[..., width], and the condition of that shape -> [..., out_channels]."""
        shift, scale = self.adaLN_modulation[1](activated).chunk(2, dim=-1)
        x = functional.layer_norm(x, (self.width,), eps=_EPS)
        return self.linear(_modulate(x, shift, scale))


class Denoiser(nn.Module):
    """adaLN MLP over single latent tokens.

    The condition and the time are embedded by separate methods, so that a sampler embeds the
    condition once a frame and the times once a process.

    Args:
        latent_channels: channels of a latent token.
        condition_dim: width of the transformer that supplies the condition.
        size: of the MLP.
        out_channels: `latent_channels` (v-prediction) or twice that (noise, then variance value).
    """

    def __init__(
        self, latent_channels: int, condition_dim: int, size: DenoiserConfig, out_channels: int
    ) -> None:
        super().__init__()
        width = size.width
        self.time_embed = TimeEmbedding(width)
        self.cond_embed = nn.Linear(condition_dim, width)
        self.input_proj = nn.Linear(latent_channels, width)
        self.res_blocks = nn.ModuleList(ResidualBlock(width) for _ in range(size.depth))
        self.final_layer = FinalLayer(width, out_channels)

    def forward(self, x: Tensor, time_embedding: Tensor, condition_embedding: Tensor) -> Tensor:
        """Predict from noisy tokens.

        Args:
            x: [n, latent_channels] noisy latents.
            time_embedding: [n or 1, width], from `time_embed`.
            condition_embedding: [n, width], from `cond_embed`.

        Returns:
            [n, out_channels].
        """
        # the SiLU that each layer's modulation begins with, once for all of them
        activated = functional.silu(time_embedding + condition_embedding)
        x = self.input_proj(x)
        for block in self.res_blocks:
            x = block(x, activated)
        return self.final_layer(x, activated)
