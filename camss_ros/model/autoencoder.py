"""Autoencoders between label images and continuous latents (paper section 3.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from camss_ros.model.sizes import check_sizes
from camss_ros.model.tiles import to_tiles
from camss_ros.model.vector_quantizer import Quantized, VectorQuantizer

_PATCH = 4  # pixels folded into channels at the full-resolution end


@dataclass(frozen=True)
class MaskAutoencoderConfig:
    """Size of a `MaskAutoencoder`.

    Attributes:
        latent_channels: channels of the latent, one per 16 x 16 pixels.
        widths: channels at strides 4, 8 and 16.
        depths: residual blocks at these strides, in the encoder as in the decoder.
        has_encoder: False for a model that only segments, which needs the decoder alone.
        codebook_size: codes of a vector-quantised latent, for the comparison with it; None for
            the continuous latent with a KL penalty.

    Raises:
        ValueError: no channel, or fewer than no block.
    """

    latent_channels: int = 16
    widths: tuple[int, int, int] = (64, 128, 192)
    depths: tuple[int, int, int] = (1, 2, 2)
    has_encoder: bool = True
    codebook_size: int | None = None

    def __post_init__(self) -> None:
        check_sizes(self, latent_channels=1, widths=1, depths=0)


@dataclass(frozen=True)
class Posterior:
    """Diagonal Gaussian over latents: `mean` and `log_variance`, each [B, C, h, w]."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """The latent [B, C, h, w] for standard normal `noise` of that shape."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def kl(self) -> Tensor:
        """KL divergence to the standard normal, summed over channels: [B, h, w] in nats."""
        variance = self.log_variance.exp()
        return 0.5 * (self.mean**2 + variance - 1 - self.log_variance).sum(dim=1)


class _ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm, which folds into them for inference."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(x + self.norm2(self.conv2(h)))


def residual_blocks(channels: int, depth: int) -> nn.Sequential:
    """`depth` residual blocks of two convolutions: [B, channels, h, w] -> the same."""
    return nn.Sequential(*(_ResidualBlock(channels) for _ in range(depth)))


class Encoder(nn.Module):
    """Convolutions from images [B, channels, H, W] to [B, outputs, H/16, W/16]."""

    def __init__(self, channels: int, config: MaskAutoencoderConfig, outputs: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.PixelUnshuffle(_PATCH)]
        channels, stride = channels * _PATCH**2, 1
        for width, depth in zip(config.widths, config.depths, strict=True):
            stages += [
                nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                residual_blocks(width, depth),
            ]
            channels, stride = width, 2
        self.stages = nn.Sequential(*stages)
        self.moments = nn.Conv2d(channels, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W], sides multiples of 16 -> [B, outputs, H/16, W/16]."""
        return self.moments(self.stages(x))


class Decoder(nn.Module):
    """Convolutions from latents [B, latent_channels, h, w] to images [B, channels, 16h, 16w]."""

    def __init__(self, channels: int, config: MaskAutoencoderConfig) -> None:
        super().__init__()
        widths, depths = config.widths[::-1], config.depths[::-1]
        self.stem = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        stages: list[nn.Module] = []
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            stages.append(residual_blocks(width, depth))
            if index + 1 < len(widths):
                stages += [nn.Conv2d(width, 4 * widths[index + 1], 1), nn.PixelShuffle(2)]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(
            nn.Conv2d(widths[-1], channels * _PATCH**2, 3, padding=1), nn.PixelShuffle(_PATCH)
        )

    def forward(self, z: Tensor, tiled: bool = False) -> Tensor:
        """[B, latent_channels, h, w] -> [B, channels, 16h, 16w].

        Or `tiled`, the tiles (`to_tiles`) that the last pixel shuffle makes it of.
        """
        features = self.stages(functional.relu(self.stem(z)))
        return to_tiles(self.head[0](features), _PATCH) if tiled else self.head(features)


class MaskAutoencoder(nn.Module):
    """Autoencoder of one-hot label images that decodes to class logits.

    Its latents are continuous, with a KL penalty in training, or vector-quantised; see
    `MaskAutoencoderConfig.codebook_size`.

    Latents are normalised to zero mean and unit variance a channel by statistics of the training
    masks (`latent_mean`, `latent_std`), which takes the place of the paper's factor 0.2325.

    Args:
        classes: number of classes; labels outside 0 .. classes - 1 are void.
        config: size.

    Raises:
        ValueError: a code book without codes.
    """

    stride = 16

    def __init__(self, classes: int, config: MaskAutoencoderConfig) -> None:
        super().__init__()
        self.classes = classes
        self.config = config
        self.encoder: Encoder | None = None
        self.quantizer: VectorQuantizer | None = None
        if config.has_encoder:
            quantized = config.codebook_size is not None
            outputs = config.latent_channels * (1 if quantized else 2)  # else mean and variance
            self.encoder = Encoder(classes, config, outputs)
            if config.codebook_size is not None:
                self.quantizer = VectorQuantizer(config.codebook_size, config.latent_channels)
        self.decoder = Decoder(classes, config)
        self.latent_mean: Tensor
        self.latent_std: Tensor
        self.register_buffer("latent_mean", torch.zeros(1, config.latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(1, config.latent_channels, 1, 1))

    def one_hot(self, labels: Tensor) -> Tensor:
        """[B, H, W] integer labels -> [B, classes, H, W], all zero where void."""
        ids = torch.arange(self.classes, device=labels.device, dtype=labels.dtype)
        return (labels[:, None] == ids[:, None, None]).to(self.latent_mean.dtype)

    def posterior(self, labels: Tensor) -> Posterior:
        """Posterior over raw latents of [B, H, W] labels, H and W multiples of 16.

        Raises:
            RuntimeError: the model was saved without its encoder, or its latents are quantised.
        """
        if self.quantizer is not None:
            raise RuntimeError("quantised latents have no posterior: use `quantize`")
        mean, log_variance = self._encoded(labels).chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(-30.0, 20.0))

    def quantize(self, labels: Tensor) -> Quantized:
        """Quantised raw latents of [B, H, W] labels, H and W multiples of 16.

        Raises:
            RuntimeError: the model was saved without its encoder, or its latents are continuous.
        """
        encoded = self._encoded(labels)
        if self.quantizer is None:
            raise RuntimeError("continuous latents have no codes: use `posterior`")
        return self.quantizer(encoded)

    def encode(self, labels: Tensor) -> Tensor:
        """[B, H, W] labels -> normalised latents [B, C, H/16, W/16], float32.

        The latents are the posterior's mode, or the codes.

        Raises:
            RuntimeError: the model was saved without its encoder.
        """
        if self.quantizer is None:
            raw = self.posterior(labels).mean
        else:
            raw = self.quantize(labels).latents
        return (raw - self.latent_mean) / self.latent_std

    def decode(self, latents: Tensor, tiled: bool = False) -> Tensor:
        """Normalised latents [B, C, h, w] -> class logits [B, classes, 16h, 16w], or `tiled`."""
        return self.decode_raw(latents * self.latent_std + self.latent_mean, tiled)

    def decode_raw(self, latents: Tensor, tiled: bool = False) -> Tensor:
        """As `decode`, from latents [B, C, h, w] of the encoder's own scale."""
        return self.decoder(latents.to(self.decoder.stem.weight.dtype), tiled)

    def _encoded(self, labels: Tensor) -> Tensor:
        if self.encoder is None:
            raise RuntimeError(
                "this model was saved for inference only, without the encoder of its masks; "
                "`camss-ros train autoencoder` makes one"
            )
        return self.encoder(self.one_hot(labels)).float()
