"""Images in square tiles of pixels: what a decoder has before its last pixel shuffle.

What is computed of each pixel is the same wherever it lies. With the pixels of a tile innermost, as
convolutions on a CPU leave them, softmax and winner over the channels take a fraction of the time
that they take in an image, and what is shuffled is the winner alone.
"""

import math

from torch import Tensor


def to_tiles(folded: Tensor, side: int) -> Tensor:
    """What `pixel_shuffle` makes an image of, [B, channels * side**2, rows, columns], in tiles:
    [B, rows, columns, channels, side**2], tiles and the pixels of a tile row by row."""
    return folded.permute(0, 2, 3, 1).unflatten(3, (-1, side**2))


def is_tiled(values: Tensor) -> bool:
    """Whether these are tiles of `to_tiles`, or an image [B, channels, H, W]."""
    return values.ndim == 5


def to_image(values: Tensor) -> Tensor:
    """Tiles of `to_tiles`, or an image, as [B, channels, H, W]."""
    return join_tiles(values.permute(0, 3, 1, 2, 4)) if is_tiled(values) else values


def join_tiles(tiles: Tensor) -> Tensor:
    """[..., rows, columns, side**2] -> [..., rows * side, columns * side]."""
    side = tile_side(tiles)
    return tiles.unflatten(-1, (side, side)).transpose(-3, -2).flatten(-2).flatten(-3, -2)


def tile_side(tiles: Tensor) -> int:
    """Pixels in each direction of tiles [..., side**2]."""
    return math.isqrt(int(tiles.shape[-1]))
