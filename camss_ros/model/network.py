"""The stages that every segmentation network has, generative or discriminative."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from camss_ros.model.config import CamSegConfig, TwinConfig
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.transformer import ConcatTransformer, PairedTransformer


class SegmentationNetwork(nn.Module, ABC):
    """What `CamSeg` and `Twin` share; `CamSeg` says what the stages take and give.

    What `plan` returns is the network's own, and goes back to it as it is.

    Attributes:
        config: what it was built from.
        stride: pixels of a token in each direction.
    """

    config: CamSegConfig | TwinConfig
    stride: int
    transformer: PairedTransformer | ConcatTransformer

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network's weights; latents are float32 always."""
        return self.transformer.mask_token.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.transformer.mask_token.device

    def normalize(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] 0-255 RGB of any dtype -> the network's input, in its dtype."""
        images = images.to(torch.float32)
        return ((images - self.config.image_mean) / self.config.image_std).to(self.dtype)

    @abstractmethod
    def image_tokens(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] from `normalize`, sides multiples of the stride -> [B, C, h, w]."""

    @abstractmethod
    def condition(self, token_map: Tensor) -> Tensor:
        """Run the transformer: [B, C, h, w] -> [B, h*w, width]."""

    @abstractmethod
    def plan(self, options: SamplingOptions) -> Any:
        """Prepare what `draw_from` needs for `options`."""

    @abstractmethod
    def draw_from(
        self,
        condition: Tensor,
        grid: Sequence[int],
        plan: Any,
        generator: torch.Generator | None = None,
        *,
        previous: Tensor | None = None,
        steady: Tensor | None = None,
        same_noise: bool = False,
    ) -> Tensor:
        """The mask latents for a condition [B, h*w, width]: [samples * B, C, h, w] float32."""

    def draw_latents(
        self,
        token_map: Tensor,
        plan: Any,
        generator: torch.Generator | None = None,
        same_noise: bool = False,
    ) -> Tensor:
        """`condition`, then `draw_from`: [B, C, h, w] image tokens -> mask latents as there."""
        condition, grid = self.condition(token_map), token_map.shape[-2:]
        return self.draw_from(condition, grid, plan, generator, same_noise=same_noise)

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Mask latents [B, C, h, w] -> class probabilities [B, classes, H, W] float32."""

    @abstractmethod
    def decode_tiled(self, latents: Tensor) -> Tensor:
        """As `decode`, in the tiles of `tiles.to_tiles`."""

    @abstractmethod
    def average_samples(self, probabilities: Tensor, samples: int) -> Tensor:
        """[samples * B, classes, H, W] -> their mean [B, classes, H, W]."""
