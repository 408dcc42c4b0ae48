"""The autoencoders that the KL/VQ study compares: one interface, encoder and decoder of one size.

Void pixels of a label image are an input of their own in each (no class, or void's colour) and
count in no loss. The losses weight each pixel by its class alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from camss_ros.images.label_class import VOID
from camss_ros.images.label_sets import LabelSet
from camss_ros.model.autoencoder import (
    Decoder,
    Encoder,
    MaskAutoencoder,
    MaskAutoencoderConfig,
    Posterior,
)

KL_WEIGHT = 1e-4  # of the divergence of a latent place against the mean loss of a pixel
COMMITMENT_WEIGHT = 0.25  # the usual one (arXiv 1711.00937)


@dataclass(frozen=True)
class Reconstruction:
    """Class ids int64 [B, H, W], and the codes int64 [B, h, w] where the latents are quantised."""

    labels: Tensor
    codes: Tensor | None = None


class StudiedAutoencoder(nn.Module, ABC):
    """What the study trains and measures. Labels are int64 [B, H, W], 255 for void."""

    codebook_size: int | None = None

    @abstractmethod
    def loss(self, labels: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Training loss, a scalar.

        Args:
            weights: [classes], of each in the loss.
            generator: of the posterior's noise, on the CPU.
        """

    @abstractmethod
    def reconstruct(self, labels: Tensor) -> Reconstruction:
        """Encode and decode without noise."""


class OneHotKL(StudiedAutoencoder):
    """Ours: one-hot labels, continuous latents, class logits."""

    def __init__(self, label_set: LabelSet, config: MaskAutoencoderConfig) -> None:
        super().__init__()
        self.network = MaskAutoencoder(len(label_set.classes), config)

    def loss(self, labels: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        posterior = self.network.posterior(labels)
        logits = self.network.decode_raw(_sample(posterior, generator)).float()
        loss = functional.cross_entropy(logits, labels, weights, ignore_index=VOID)
        return loss + KL_WEIGHT * posterior.kl().mean()

    def reconstruct(self, labels: Tensor) -> Reconstruction:
        mode = self.network.posterior(labels).mean
        return Reconstruction(self.network.decode_raw(mode).argmax(dim=1))


class OneHotVQ(StudiedAutoencoder):
    """The same with quantised latents; `config` has a `codebook_size`."""

    def __init__(self, label_set: LabelSet, config: MaskAutoencoderConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.network = MaskAutoencoder(len(label_set.classes), config)

    def loss(self, labels: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        quantized = self.network.quantize(labels)
        logits = self.network.decode_raw(quantized.latents).float()
        loss = functional.cross_entropy(logits, labels, weights, ignore_index=VOID)
        return loss + COMMITMENT_WEIGHT * quantized.commitment_loss

    def reconstruct(self, labels: Tensor) -> Reconstruction:
        quantized = self.network.quantize(labels)
        logits = self.network.decode_raw(quantized.latents)
        return Reconstruction(logits.argmax(dim=1), quantized.codes)


class PaletteKL(StudiedAutoencoder):
    """The official setting: labels painted with their palette, an autoencoder of RGB images with
    continuous latents, and the class of the nearest colour. The loss is the absolute difference
    of the colours, the pixel loss of the official autoencoder (arXiv 2112.10752)."""

    def __init__(self, label_set: LabelSet, config: MaskAutoencoderConfig) -> None:
        super().__init__()
        self.encoder = Encoder(3, config, 2 * config.latent_channels)
        self.decoder = Decoder(3, config)
        palette = torch.from_numpy(label_set.palette()).float() / 127.5 - 1
        self.classes = len(label_set.classes)
        self.palette: Tensor
        self.register_buffer("palette", palette)

    def loss(self, labels: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        image = self._paint(labels)
        posterior = self._posterior(image)
        painted = self.decoder(_sample(posterior, generator)).float()
        known = labels != VOID
        weight = torch.where(known, weights[labels.clamp(max=self.classes - 1)], 0.0)
        # the mean over pixels and channels, weighted as cross_entropy weights its mean
        difference = (painted - image).abs().mean(dim=1)
        loss = (weight * difference).sum() / weight.sum().clamp(min=1e-6)
        return loss + KL_WEIGHT * posterior.kl().mean()

    def reconstruct(self, labels: Tensor) -> Reconstruction:
        painted = self.decoder(self._posterior(self._paint(labels)).mean).float()
        colors = self.palette[: self.classes]
        distance = (painted[:, None] - colors[:, :, None, None]).square().sum(dim=2)
        return Reconstruction(distance.argmin(dim=1))

    def _paint(self, labels: Tensor) -> Tensor:
        return self.palette[labels].movedim(-1, 1).contiguous()

    def _posterior(self, image: Tensor) -> Posterior:
        mean, log_variance = self.encoder(image).float().chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(-30.0, 20.0))


def _sample(posterior: Posterior, generator: torch.Generator) -> Tensor:
    # drawn on the CPU, so that it is the same on every device
    noise = torch.randn(posterior.mean.shape, generator=generator)
    return posterior.sample(noise.to(posterior.mean.device))


Builder = Callable[[LabelSet], StudiedAutoencoder]


def variants(config: MaskAutoencoderConfig) -> dict[str, Builder]:
    """The variants of the study at the size of `config`, by the name in its tables."""

    def quantized(size: int) -> Builder:
        return lambda labels: OneHotVQ(labels, replace(config, codebook_size=size))

    return {
        "KL, one-hot": lambda labels: OneHotKL(labels, config),
        **{f"VQ {size}, one-hot": quantized(size) for size in (256, 1024, 4096)},
        "KL, palette RGB": lambda labels: PaletteKL(labels, config),
    }
