"""Masked-autoencoder transformers over image and mask tokens (paper section 3.2)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from camss_ros.model.config import ConcatTransformerConfig, TransformerConfig

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
        """[B, length, width] -> the same shape; `rotation` turns queries and keys by place."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if rotation is not None:
            q, k = _rotate(q, rotation), _rotate(k, rotation)
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, length, width))

    def attend_from(self, x: Tensor, first: int) -> Tensor:
        """The outputs of `forward` from the token with index `first` onwards, and no others:
        [B, length, width] -> [B, length - first, width]."""
        batch, length, width = x.shape
        shape = (batch, -1, self.heads, width // self.heads)
        weight, bias = self.qkv.weight, self.qkv.bias
        q = functional.linear(x[:, first:], weight[:width], bias[:width])
        k, v = functional.linear(x, weight[width:], bias[width:]).chunk(2, dim=-1)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in (q, k, v))
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, length - first, width))


class Mlp(nn.Module):
    """Linear, GELU, linear, with timm's parameter names."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same shape."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm ViT block with timm's parameter names."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[B, length, width] -> the same shape."""
        x = x + self.attn(self.norm1(x), rotation)
        return x + self.mlp(self.norm2(x))

    def forward_from(self, x: Tensor, first: int) -> Tensor:
        """The outputs of `forward` from the token with index `first` onwards, and no others:
        [B, length, width] -> [B, length - first, width]."""
        x = x[:, first:] + self.attn.attend_from(self.norm1(x), first)
        return x + self.mlp(self.norm2(x))


def _initialize(transformer: nn.Module, *tables: nn.Parameter) -> None:
    for table in tables:
        nn.init.normal_(table, std=0.02)
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


class PairedTransformer(nn.Module):
    """Transformer over sums of the image token and the mask token of one place.

    Half the length of the official sequence, and rotary positions instead of a table, so that
    every grid size works without retraining.

    Args:
        image_channels: channels of an image token.
        latent_channels: channels of a mask token.
        size: of the transformer.
    """

    def __init__(
        self,
        image_channels: int,
        latent_channels: int,
        size: TransformerConfig,
    ) -> None:
        super().__init__()
        width = size.width
        self.head_dim = width // size.heads
        self.image_embed = nn.Linear(image_channels, width)
        self.mask_embed = nn.Linear(latent_channels, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.embed_norm = nn.LayerNorm(width, eps=_EPS)
        self.blocks = _blocks(size.depth, size)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        # Kept as long as the network is: CUDA graphs read them.
        self._rotations: dict[tuple[int, int, torch.device, torch.dtype], Rotation] = {}
        _initialize(self, self.mask_token)

    def forward(
        self,
        image_tokens: Tensor,
        grid: tuple[int, int],
        mask_tokens: Tensor | None = None,
        known: Tensor | None = None,
        known_count: int | None = None,
    ) -> Tensor:
        """Condition of the denoiser for every mask token.

        Args:
            image_tokens: [B, n, image_channels], row by row over `grid`.
            grid: (height, width) in tokens, n = height * width.
            mask_tokens: [B, n, latent_channels] latents of the mask, read where `known`.
            known: [B, n] bool; None (with `mask_tokens` None) when no mask token is known.
            known_count: not needed here; for callers that serve both transformers.

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
        rotation = self._rotation(*grid, x.device, x.dtype)
        for block in self.blocks:
            x = block(x, rotation)
        return self.norm(x)

    def _rotation(
        self, height: int, width: int, device: torch.device, dtype: torch.dtype
    ) -> Rotation:
        """`rotary_table`, computed once for a grid; in what is compiled, as a part of it."""
        key = (height, width, device, dtype)
        if torch.compiler.is_dynamo_compiling():
            cos, sin = rotary_table(height, width, self.head_dim, device)
            return cos.to(dtype), sin.to(dtype)
        if key not in self._rotations:
            with torch.inference_mode(False):  # kept for training, whoever asks first
                cos, sin = rotary_table(height, width, self.head_dim, device)
                self._rotations[key] = cos.to(dtype), sin.to(dtype)
        return self._rotations[key]


class ConcatTransformer(nn.Module):
    """The official transformer: masked autoencoder over image tokens followed by mask tokens.

    The encoder sees the image tokens and the known mask tokens only; the decoder sees all places.
    Parameter names are the official checkpoint's.

    Args:
        grid: (height, width) of the token grid, fixed by the position tables.
        image_channels: channels of an image token.
        latent_channels: channels of a mask token.
        size: of the transformer.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        image_channels: int,
        latent_channels: int,
        size: ConcatTransformerConfig,
    ) -> None:
        super().__init__()
        width = size.width
        self.grid = grid
        self.tokens = grid[0] * grid[1]
        self.z_proj1 = nn.Linear(image_channels, width)
        self.z_proj2 = nn.Linear(latent_channels, width)
        self.z_proj_ln = nn.LayerNorm(width, eps=_EPS)
        table = (1, 2 * self.tokens, width)
        self.encoder_pos_embed_learned = nn.Parameter(torch.zeros(table))
        self.encoder_blocks = _blocks(size.encoder_depth, size)
        self.encoder_norm = nn.LayerNorm(width, eps=_EPS)
        self.decoder_embed = nn.Linear(width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed_learned = nn.Parameter(torch.zeros(table))
        self.decoder_blocks = _blocks(size.decoder_depth, size)
        self.decoder_norm = nn.LayerNorm(width, eps=_EPS)
        self.diffusion_pos_embed_learned = nn.Parameter(torch.zeros(table))
        _initialize(
            self,
            self.mask_token,
            self.encoder_pos_embed_learned,
            self.decoder_pos_embed_learned,
            self.diffusion_pos_embed_learned,
        )

    def forward(
        self,
        image_tokens: Tensor,
        grid: tuple[int, int],
        mask_tokens: Tensor | None = None,
        known: Tensor | None = None,
        known_count: int | None = None,
    ) -> Tensor:
        """Condition of the denoiser for every mask token, as of `PairedTransformer.forward`.

        Args:
            image_tokens, mask_tokens: [B, n, image_channels] and [B, n, latent_channels].
            grid: must be the transformer's own.
            known: bool [B, n], with equally many known tokens in every row.
            known_count: how many tokens of a row are known. Left out, they are counted, which
                waits for the device.

        Raises:
            ValueError: the grid is another, or rows have different numbers of known tokens.
        """
        if grid != self.grid:
            raise ValueError(
                f"this model has position tables for {self.grid[0]} x {self.grid[1]} tokens and "
                f"cannot take {grid[0]} x {grid[1]}; resize the image to the model's input size"
            )
        places = None
        if mask_tokens is not None and known is not None:
            places = _places(known, _equal_count(known) if known_count is None else known_count)
        encoded = self.encode(image_tokens, mask_tokens, places)
        return self.decode(encoded, places)

    def encode(
        self, image_tokens: Tensor, mask_tokens: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Encode the visible tokens.

        Args:
            image_tokens: [B, n, image_channels].
            mask_tokens: [B, n, latent_channels].
            places: [B, k] int64 indices of the known mask tokens, ascending.

        Returns:
            [B, n + k, width], image tokens first.
        """
        positions = self.encoder_pos_embed_learned
        x = self.z_proj1(image_tokens) + positions[:, : self.tokens]
        if mask_tokens is not None and places is not None:
            visible = self.z_proj2(_gather(mask_tokens, places).to(x.dtype))
            batch = positions[:, self.tokens :].expand(len(x), -1, -1)
            x = torch.cat([x, visible + _gather(batch, places)], dim=1)
        x = self.z_proj_ln(x)
        for block in self.encoder_blocks:
            x = block(x)
        return self.encoder_norm(x)

    def decode(
        self, encoded: Tensor, places: Tensor | None = None, image_rows: bool = False
    ) -> Tensor:
        """Decode all places from the visible ones.

        Args:
            encoded: [B, n + k, width] from `encode`.
            places: as in `encode`.
            image_rows: also return the outputs at the image tokens, which nothing but a
                comparison with the official implementation needs.

        Returns:
            [B, n, width] at the mask tokens, or [B, 2n, width] with `image_rows`.
        """
        x = self.decoder_embed(encoded)
        masked = self.mask_token.to(x.dtype).expand(len(x), self.tokens, -1)
        if places is not None:
            index = places[..., None].expand(-1, -1, x.shape[-1])
            masked = masked.scatter(1, index, x[:, self.tokens :])
        x = torch.cat([x[:, : self.tokens], masked], dim=1) + self.decoder_pos_embed_learned
        first = 0 if image_rows else self.tokens
        for block in self.decoder_blocks[:-1]:
            x = block(x)
        # the last block needs its queries only where an output is wanted
        x = cast(Block, self.decoder_blocks[-1]).forward_from(x, first)
        return self.decoder_norm(x) + self.diffusion_pos_embed_learned[:, first:]


def _blocks(depth: int, size: TransformerConfig | ConcatTransformerConfig) -> nn.ModuleList:
    return nn.ModuleList(Block(size.width, size.heads, size.mlp_ratio) for _ in range(depth))


def _equal_count(known: Tensor) -> int:
    counts = known.sum(dim=1).tolist()
    if len(set(counts)) > 1:
        raise ValueError(f"every row must have equally many known tokens, not {counts}")
    return counts[0]


def _places(known: Tensor, count: int) -> Tensor:
    """Ascending indices [B, count] of the known tokens."""
    return torch.argsort(known.logical_not().to(torch.uint8), dim=1, stable=True)[:, :count]


def _gather(tokens: Tensor, places: Tensor) -> Tensor:
    """[B, n, C] tokens at [B, k] indices: [B, k, C]."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
