"""The discriminative twin: what generates in `CamSeg` replaced by a per-pixel classifier.

Backbone, transformer and convolutional decoder are those of the small model; the decoder reads the
transformer's output instead of drawn latents. Comparing the two tells what generating does.
It has the stages of `CamSeg`, so that `Segmenter` runs either; sampling options have no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from camss_ros.model.autoencoder import MaskAutoencoder
from camss_ros.model.backbone import FusedTokenizer
from camss_ros.model.config import TwinConfig
from camss_ros.model.network import SegmentationNetwork
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.transformer import PairedTransformer


@dataclass(frozen=True)
class TwinPlan:
    """Stands in for a `SamplingPlan`: the twin takes no denoising steps, whatever the options."""

    options: SamplingOptions
    steps: int = 0


class Twin(SegmentationNetwork):
    """Per-pixel classification on the small model's backbone and transformer.

    Raises:
        ValueError: the decoder does not read the transformer's width, or has an encoder.
    """

    config: TwinConfig
    stride = 16

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        size = config.transformer
        if config.decoder.latent_channels != size.width or config.decoder.has_encoder:
            raise ValueError(
                f"the decoder of {config.name} must have {size.width} latent channels, as the "
                "transformer is wide, and no encoder"
            )
        self.config = config
        self.tokenizer = FusedTokenizer(config.tokenizer.channels)
        # No mask token is ever known here: the embedding of known ones is small and not trained.
        self.transformer = PairedTransformer(config.tokenizer.channels, 1, size)
        self.transformer.mask_embed.requires_grad_(False)
        self.decoder = MaskAutoencoder(len(config.label_set), config.decoder)

    def image_tokens(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] from `normalize`, sides multiples of 16 -> [B, C, H/16, W/16]."""
        return self.tokenizer(images)

    def condition(self, token_map: Tensor) -> Tensor:
        """Run the transformer: [B, C, h, w] -> [B, h*w, width]."""
        grid = (token_map.shape[-2], token_map.shape[-1])
        return self.transformer(token_map.flatten(2).transpose(1, 2), grid)

    def plan(self, options: SamplingOptions) -> TwinPlan:
        """There is nothing to prepare."""
        return TwinPlan(options)

    def draw_from(self, condition: Tensor, grid: Sequence[int], *_: Any, **__: Any) -> Tensor:
        """[B, h*w, width] -> the same as a map [B, width, h, w]; nothing is drawn."""
        return condition.transpose(1, 2).unflatten(2, tuple(grid))

    def decode(self, latents: Tensor) -> Tensor:
        """Map [B, width, h, w] -> class probabilities [B, classes, H, W] float32."""
        return self.decoder.decode(latents).float().softmax(dim=1)

    def decode_tiled(self, latents: Tensor) -> Tensor:
        """As of `CamSeg`."""
        return self.decoder.decode(latents, tiled=True).float().softmax(dim=3)

    def average_samples(self, probabilities: Tensor, samples: int) -> Tensor:
        """[B, classes, H, W] as they are: there is one sample always."""
        return probabilities

    def logits(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] 0-255 RGB, sides multiples of 16 -> class logits [B, classes, H, W]."""
        token_map = self.image_tokens(self.normalize(images))
        latents = self.draw_latents(token_map, TwinPlan(SamplingOptions()))
        return self.decoder.decode(latents)
