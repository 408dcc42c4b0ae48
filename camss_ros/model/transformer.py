"""Masked-autoencoder transformers over image and mask tokens (paper section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-6

Rotation = tuple[Tensor, Tensor]


def rotary_table(height: int, width: int, head_dim: int, device: torch.device) -> Rotation:
    """Cosines and sines of the axial rotary position embedding of a token grid.

    The first half of the pairs of a head turns with the row, the second with the column.

    Args:
        height, width: size of the grid in tokens.
        head_dim: channels of a head, a multiple of 4.

    Returns:
        (cos, sin), each [height * width, head_dim / 2] float32.
    """
    pairs = head_dim // 4
    frequency = 100.0 ** (-torch.arange(pairs, dtype=torch.float32, device=device) / pairs)
    rows = torch.arange(height, dtype=torch.float32, device=device)[:, None] * frequency
    columns = torch.arange(width, dtype=torch.float32, device=device)[:, None] * frequency
    angle = torch.cat(
        [
            rows[:, None].expand(height, width, pairs),
            columns[None].expand(height, width, pairs),
        ],
        dim=-1,
    ).reshape(height * width, 2 * pairs)
    return angle.cos(), angle.sin()


def _rotate(x: Tensor, rotation: Rotation) -> Tensor:
    cos, sin = (part.to(x.dtype) for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention with timm's parameter names."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if rotation is not None:
            q, k = _rotate(q, rotation), _rotate(k, rotation)
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    """Linear, GELU, linear, with timm's parameter names."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm ViT block with timm's parameter names."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[B, length, width] -> the same shape."""
        x = x + self.attn(self.norm1(x), rotation)
        return x + self.mlp(self.norm2(x))


class PairedTransformer(nn.Module):
    """Transformer over sums of the image token and the mask token of one place.

    Half the length of the official sequence, and rotary positions instead of a table, so that
    every grid size works without retraining.

    Args:
        image_channels: channels of an image token.
        latent_channels: channels of a mask token.
        width, depth, heads, mlp_ratio: size of the transformer.
    """

    def __init__(
        self,
        image_channels: int,
        latent_channels: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.image_embed = nn.Linear(image_channels, width)
        self.mask_embed = nn.Linear(latent_channels, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.embed_norm = nn.LayerNorm(width, eps=_EPS)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self._initialize()

    def _initialize(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        image_tokens: Tensor,
        grid: tuple[int, int],
        mask_tokens: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Condition of the denoiser for every mask token.

        Args:
            image_tokens: [B, n, image_channels], row by row over `grid`.
            grid: (height, width) in tokens, n = height * width.
            mask_tokens: [B, n, latent_channels] latents of the mask, read where `known`.
            known: [B, n] bool; None (with `mask_tokens` None) when no mask token is known.

        Returns:
            [B, n, width].
        """
        x = self.image_embed(image_tokens)
        if mask_tokens is None or known is None:
            x = x + self.mask_token
        else:
            embedded = self.mask_embed(mask_tokens.to(x.dtype))
            x = x + torch.where(known[..., None], embedded, self.mask_token.to(x.dtype))
        x = self.embed_norm(x)
        rotation = rotary_table(*grid, self.head_dim, x.device)
        for block in self.blocks:
            x = block(x, rotation)
        return self.norm(x)
