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
    def image_tokens(self, images: Tensor) -> Tensor: ...

    @abstractmethod
    def condition(self, token_map: Tensor) -> Tensor: ...

    @abstractmethod
    def plan(self, options: SamplingOptions) -> Any: ...

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
    ) -> Tensor: ...

    def draw_latents(
        self,
        token_map: Tensor,
        plan: Any,
        generator: torch.Generator | None = None,
        same_noise: bool = False,
    ) -> Tensor:
        """`condition`, then `draw_from`."""
        condition, grid = self.condition(token_map), token_map.shape[-2:]
        return self.draw_from(condition, grid, plan, generator, same_noise=same_noise)

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor: ...

    @abstractmethod
    def decode_tiled(self, latents: Tensor) -> Tensor: ...

    @abstractmethod
    def average_samples(self, probabilities: Tensor, samples: int) -> Tensor: ...
