"""Warm start: which tokens of a video frame are sampled from the latents of the frame before.

Where the image under a token has changed, the latents of the frame before show something else, and
starting from them lowers the mIoU: such a token is sampled from noise, as all are in a first frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Mean absolute difference of the colours under a token, 0-255, from which on it is sampled from
# noise. On CamVid val (15 Hz, a moving car) 63 % of the tokens stay below.
TOKEN_CHANGE = 8.0

FAR = -1e4  # a colour far from that of any image

_CELLS = 4  # rows and columns of a token's picture


class FrameState(NamedTuple):
    """The state that one frame passes to the next.

    Attributes:
        latents: [samples, C, h, w] float32, as they were drawn.
        picture: [3, h', w'] float32 mean colours of the cells of all tokens, 0-255.
    """

    latents: Tensor
    picture: Tensor

    @classmethod
    def blank(
        cls, samples: int, channels: int, size: tuple[int, int], stride: int, device: torch.device
    ) -> FrameState:
        """The state before the first frame, after which no token is steady.

        Args:
            size: working (height, width), multiples of the stride.
        """
        height, width = size
        cell = _cell(stride)
        latents = torch.zeros(samples, channels, height // stride, width // stride, device=device)
        return cls(latents, torch.full((3, height // cell, width // cell), FAR, device=device))


class SteadyTokens(nn.Module):
    """Finds the tokens whose image is that of the frame before. It has no parameters; as a module
    it has a name in exported graphs.

    Args:
        stride: pixels of a token.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def picture(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] 0-255 RGB of any dtype -> [B, 3, h', w'] float32; see `FrameState`."""
        return functional.avg_pool2d(images.float(), _cell(self.stride))

    def forward(self, picture: Tensor, previous: Tensor) -> Tensor:
        """Which tokens are steady: bool [B, h*w].

        Args:
            picture: [B, 3, h', w'] of the frames.
            previous: of those before, of that shape.
        """
        change = (picture - previous).abs().mean(dim=1, keepdim=True)
        cells = self.stride // _cell(self.stride)
        return functional.avg_pool2d(change, cells).flatten(1) < TOKEN_CHANGE


def _cell(stride: int) -> int:
    """Pixels of a cell."""
    return max(1, stride // _CELLS)
