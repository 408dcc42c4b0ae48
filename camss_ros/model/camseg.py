"""CamSeg: image -> image tokens -> condition -> mask latents -> class probabilities (paper fig. 2).

The stages are methods of their own, so that a caller can time them or stop between them;
`generate` runs them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig
from camss_ros.model.backbone import FusedTokenizer
from camss_ros.model.config import CamSegConfig, TransformerConfig
from camss_ros.model.denoiser import Denoiser
from camss_ros.model.fast_decoder import FastDecoder
from camss_ros.model.image_autoencoder import PaletteAutoencoder
from camss_ros.model.network import SegmentationNetwork
from camss_ros.model.schedule import Sampler, SamplingOptions
from camss_ros.model.transformer import ConcatTransformer, PairedTransformer
from camss_ros.model.warm_start import SteadyTokens


@dataclass(frozen=True)
class SamplingPlan:
    """A sampler with the time embeddings of its steps, made once for many frames.

    Attributes:
        options: what it was made from.
        sampler: coefficient table and loop.
        time_embeddings: [steps, width] in the denoiser's dtype, on its device.
        warm: of the tokens that begin from latents, if `options` has a warm start.
    """

    options: SamplingOptions
    sampler: Sampler
    time_embeddings: Tensor
    warm: SamplingPlan | None = None

    @property
    def steps(self) -> int:
        """Denoiser evaluations of a token that is not warm-started."""
        return len(self.sampler.timesteps)

    @property
    def noise_count(self) -> int:
        """Noise tensors that drawing takes, those of `warm` after the others."""
        return self.sampler.noise_count + (0 if self.warm is None else self.warm.noise_count)

    def draw_noise(
        self,
        shape: tuple[int, ...],
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor | None:
        """All of them, [noise_count, *shape]; see `Sampler.draw_noise`."""
        drawn = self.sampler.draw_noise(shape, device, generator)
        warm = None if self.warm is None else self.warm.draw_noise(shape, device, generator)
        return drawn if drawn is None or warm is None else torch.cat([drawn, warm])


class CamSeg(SegmentationNetwork):
    """The segmentation network (paper section 3).

    Args:
        config: sizes and label set.

    Raises:
        ValueError: no tokenizer, and an autoencoder that cannot take its place; or a fast decoder
            beside an autoencoder of labels.
    """

    config: CamSegConfig

    def __init__(self, config: CamSegConfig) -> None:
        super().__init__()
        self.config = config
        latent_channels = config.mask_autoencoder.latent_channels
        self.mask_autoencoder = _build_autoencoder(config)
        self.stride = self.mask_autoencoder.stride
        self.steady_tokens = SteadyTokens(self.stride)
        self.tokenizer: FusedTokenizer | None = None
        image_channels = latent_channels
        if config.tokenizer is not None:
            image_channels = config.tokenizer.channels
            self.tokenizer = FusedTokenizer(image_channels)
        elif not isinstance(self.mask_autoencoder, PaletteAutoencoder):
            raise ValueError("a model whose autoencoder takes labels only needs a tokenizer")
        self.transformer = _build_transformer(config, image_channels, latent_channels, self.stride)
        self.denoiser = Denoiser(
            latent_channels,
            config.transformer.width,
            config.denoiser,
            latent_channels * (2 if config.learned_variance else 1),
        )
        self.latent_channels = latent_channels
        self.fast_decoder: FastDecoder | None = None
        if config.fast_decoder is not None:
            if not isinstance(self.mask_autoencoder, PaletteAutoencoder):
                raise ValueError("fast_decoder stands for the decoder of a colour autoencoder only")
            classes = len(self.mask_autoencoder.colors)
            self.fast_decoder = FastDecoder(
                config.fast_decoder, latent_channels, classes, self.stride
            )

    def image_tokens(self, images: Tensor) -> Tensor:
        """Image tokens as a map.

        Args:
            images: [B, 3, H, W] from `normalize`, sides multiples of the stride.

        Returns:
            [B, C, H/stride, W/stride].
        """
        if self.tokenizer is not None:
            return self.tokenizer(images)
        assert isinstance(self.mask_autoencoder, PaletteAutoencoder)
        return self.mask_autoencoder.images.encode(images)

    def condition(
        self,
        token_map: Tensor,
        latents: Tensor | None = None,
        known: Tensor | None = None,
        known_count: int | None = None,
    ) -> Tensor:
        """Run the transformer.

        Args:
            token_map: [B, C, h, w] image tokens.
            latents: [B, h*w, latent_channels] mask latents, read where `known`.
            known: [B, h*w] bool; None when every mask token is masked.
            known_count: known tokens of a row, where they are equally many.

        Returns:
            [B, h*w, width] the denoiser's condition of every mask token.
        """
        grid = (token_map.shape[-2], token_map.shape[-1])
        tokens = token_map.flatten(2).transpose(1, 2)
        return self.transformer(tokens, grid, latents, known, known_count)

    def plan(self, options: SamplingOptions) -> SamplingPlan:
        """Prepare sampling with `options`; valid until the weights move or change."""
        sampler = Sampler(options, self.config.prediction, self.config.learned_variance)
        timesteps = torch.tensor(sampler.timesteps, dtype=torch.float32, device=self.device)
        warm = self.plan(options.warm()) if options.warm_start_time else None
        return SamplingPlan(options, sampler, self.denoiser.time_embed(timesteps), warm)

    def sample(
        self,
        condition: Tensor,
        plan: SamplingPlan,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        previous: Tensor | None = None,
        steady: Tensor | None = None,
        images: int = 1,
    ) -> Tensor:
        """Denoise every mask token.

        Args:
            condition: [B, n, width] of `condition`.
            plan: from `plan`.
            generator: of the noise, on the model's device.
            noise: [plan.noise_count, B, n, latent_channels] of `Sampler.draw_noise`, replaces the
                generator.
            previous: [B, n, latent_channels] latents that tokens begin from, with a `plan.warm`.
            steady: bool [B, n], which of them do.
            images: as in `Sampler.sample`.

        Returns:
            Latents [B, n, latent_channels] float32.
        """
        embedded = self.denoiser.cond_embed(condition)
        dtype = embedded.dtype

        def draw(plan: SamplingPlan, noise: Tensor | None, latents: Tensor | None = None) -> Tensor:
            def predict(x: Tensor, index: int) -> Tensor:
                return self.denoiser(x.to(dtype), plan.time_embeddings[index], embedded)

            shape = (*condition.shape[:2], self.latent_channels)
            return plan.sampler.sample(
                predict, shape, condition.device, generator, noise, latents, images
            )

        count = plan.sampler.noise_count
        drawn = draw(plan, None if noise is None else noise[:count])
        if previous is None or steady is None or plan.warm is None:
            return drawn
        # all tokens both ways: an index of variable length would make the CPU wait for the GPU
        warm = draw(plan.warm, None if noise is None else noise[count:], previous)
        return torch.where(steady[..., None], warm, drawn)

    def latent_map(self, latents: Tensor, grid: Sequence[int]) -> Tensor:
        """Token latents [B, h*w, C] -> map [B, C, h, w]."""
        return latents.transpose(1, 2).unflatten(2, tuple(grid))

    def decode(self, latents: Tensor) -> Tensor:
        """Latent map [B, C, h, w] -> class probabilities [B, classes, H, W] float32."""
        decoder = self.fast_decoder or self.mask_autoencoder.decode
        return decoder(latents).float().softmax(dim=1)

    def decode_tiled(self, latents: Tensor) -> Tensor:
        """As `decode`; in the tiles of `model/tiles.py` where the decoder ends in a pixel shuffle,
        which is faster on a CPU."""
        if isinstance(self.mask_autoencoder, MaskAutoencoder):
            return self.mask_autoencoder.decode(latents, tiled=True).float().softmax(dim=3)
        return self.decode(latents)

    def draw_latents(
        self,
        token_map: Tensor,
        plan: SamplingPlan,
        generator: torch.Generator | None = None,
        same_noise: bool = False,
    ) -> Tensor:
        """All mask latents of a batch, in `plan.options.iterations` passes.

        Args:
            token_map: [B, C, h, w].
            same_noise: every image of the batch gets the noise that it would get alone.

        Returns:
            [samples * B, C, h, w] float32; sample by sample, all images of the batch in each.
        """
        if plan.options.iterations == 1:
            return super().draw_latents(token_map, plan, generator, same_noise)
        images = len(token_map) if same_noise else 1
        token_map = token_map.repeat(plan.options.samples, 1, 1, 1)
        return self._decode_iteratively(token_map, plan, generator, images)

    def draw_from(
        self,
        condition: Tensor,
        grid: Sequence[int],
        plan: SamplingPlan,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        previous: Tensor | None = None,
        steady: Tensor | None = None,
        same_noise: bool = False,
    ) -> Tensor:
        """The one-pass half of `draw_latents` that follows `condition`.

        Args:
            condition: [B, h*w, width] of `condition`.
            grid: (h, w).
            plan, generator: as of `sample`.
            noise: in place of the generator; see `sample`.
            previous: [samples * B, C, h, w] latents, as this function returned them for the frame
                before.
            steady: bool [B, h*w], the tokens that begin from them.
            same_noise: see `draw_latents`.

        Returns:
            [samples * B, C, h, w] float32, as of `draw_latents`.
        """
        images, samples = len(condition) if same_noise else 1, plan.options.samples
        condition = condition.repeat(samples, 1, 1)
        latents = None if previous is None else previous.flatten(2).transpose(1, 2)
        steady = None if steady is None else steady.repeat(samples, 1)
        drawn = self.sample(condition, plan, generator, noise, latents, steady, images)
        return self.latent_map(drawn, grid)

    def _decode_iteratively(
        self, token_map: Tensor, plan: SamplingPlan, generator: torch.Generator | None, images: int
    ) -> Tensor:
        """Reveal tokens pass by pass, most confident or in random order (paper section 3.2)."""
        batch, _, height, width = token_map.shape
        count = height * width
        latents: Tensor | None = None
        known = torch.zeros(batch, count, dtype=torch.bool, device=token_map.device)
        order = torch.rand(batch // images, count, generator=generator, device=token_map.device)
        order = order.repeat_interleave(images, dim=0)
        known_count = 0
        for revealed in reveal_counts(count, plan.options.iterations):
            if known_count:
                condition = self.condition(token_map, latents, known, known_count)
            else:
                condition = self.condition(token_map)
            drawn = self.sample(condition, plan, generator, images=images)
            latents = drawn if latents is None else torch.where(known[..., None], latents, drawn)
            if plan.options.order == "confidence":
                order = self._token_confidence(latents, (height, width))
            chosen = order.masked_fill(known, -math.inf).topk(revealed, dim=1).indices
            known = known.scatter(1, chosen, True)
            known_count += revealed
        assert latents is not None
        return self.latent_map(latents, (height, width))

    def _token_confidence(self, latents: Tensor, grid: tuple[int, int]) -> Tensor:
        """Mean largest class probability under each token: [B, n]."""
        largest = self.decode(self.latent_map(latents, grid)).amax(dim=1, keepdim=True)
        return functional.avg_pool2d(largest, self.stride).flatten(1)

    def average_samples(self, probabilities: Tensor, samples: int) -> Tensor:
        """[samples * B, ...] probabilities from `draw_latents` -> their mean [B, ...]."""
        if samples == 1:
            return probabilities
        return probabilities.unflatten(0, (samples, -1)).mean(dim=0)

    @torch.no_grad()
    def generate(
        self, images: Tensor, plan: SamplingPlan, generator: torch.Generator | None = None
    ) -> Tensor:
        """Segment images.

        Args:
            images: [B, 3, H, W] 0-255 RGB, sides multiples of the stride.
            plan: from `plan`.
            generator: on the model's device; the result is a function of its state.

        Returns:
            [B, classes, H, W] float32 class probabilities.
        """
        token_map = self.image_tokens(self.normalize(images))
        latents = self.draw_latents(token_map, plan, generator)
        return self.average_samples(self.decode(latents), plan.options.samples)


def reveal_counts(tokens: int, iterations: int) -> list[int]:
    """Tokens revealed at each iteration of masked-autoregressive decoding.

    The share still masked after iteration k of K is cos(pi / 2 * k / K) (MaskGIT, arXiv
    2202.04200), with at least one token revealed by every iteration.

    Args:
        tokens: mask tokens to decode.
        iterations: K; no more than `tokens` iterations are made.

    Returns:
        min(iterations, tokens) positive numbers whose sum is `tokens`.
    """
    iterations = min(iterations, tokens)
    counts, masked = [], tokens
    for k in range(1, iterations + 1):
        target = math.floor(tokens * math.cos(math.pi / 2 * k / iterations))
        # leave one token to every later iteration, take one in this
        remaining = min(masked - 1, max(iterations - k, target))
        counts.append(masked - remaining)
        masked = remaining
    return counts


def _build_autoencoder(config: CamSegConfig) -> MaskAutoencoder | PaletteAutoencoder:
    size = config.mask_autoencoder
    if isinstance(size, MaskAutoencoderConfig):
        return MaskAutoencoder(len(config.label_set), size)
    return PaletteAutoencoder(size, [each.color for each in config.label_set], config.void_color)


def _build_transformer(
    config: CamSegConfig, image_channels: int, latent_channels: int, stride: int
) -> PairedTransformer | ConcatTransformer:
    size = config.transformer
    if isinstance(size, TransformerConfig):
        return PairedTransformer(image_channels, latent_channels, size)
    grid = (config.input_size[0] // stride, config.input_size[1] // stride)
    return ConcatTransformer(grid, image_channels, latent_channels, size)
