"""The official KL autoencoder of colour images, and label images painted for it.

One frozen LDM autoencoder (arXiv 2112.10752; f16, 16 channels) turns both camera images and
palette-coloured label images into latents (paper section 3.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from camss_ros.model.group_norm import replace_group_norms
from camss_ros.model.sizes import check_sizes

# Standard deviation, in colour units of [0, 1], that turns distances to palette colours into
# probabilities. Two of the palette's colours are 0.08 apart; these are told apart at 0.77.
_COLOR_STD = 0.05


@dataclass(frozen=True)
class ImageAutoencoderConfig:
    """Size of an `ImageAutoencoder`; the defaults are the official one's.

    Attributes:
        latent_channels: channels of the latent.
        width: channels at full resolution, a multiple of 32.
        multipliers: channels of each level in units of `width`; each level halves the resolution.
        res_blocks: residual blocks of an encoder level (a decoder level has one more).
        attention_levels: levels with self-attention after each residual block.
        latent_scale: factor on the latents that brings them to unit variance.

    Raises:
        ValueError: no level, channel or block, or a `latent_scale` that is not above 0.
    """

    latent_channels: int = 16
    width: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    res_blocks: int = 2
    attention_levels: tuple[int, ...] = (4,)
    latent_scale: float = 0.2325

    def __post_init__(self) -> None:
        check_sizes(self, latent_channels=1, width=1, multipliers=1, res_blocks=1)
        if not self.multipliers:
            raise ValueError("multipliers must have an entry for each level")
        if not self.latent_scale > 0:
            raise ValueError(f"latent_scale must be above 0, not {self.latent_scale}")

    @property
    def stride(self) -> int:
        """Pixels a latent stands for in each direction."""
        return 2 ** (len(self.multipliers) - 1)


class ImageAutoencoder(nn.Module):
    """KL autoencoder of colour images: diffusers' `AutoencoderKL` in LDM's shape."""

    def __init__(self, config: ImageAutoencoderConfig) -> None:
        super().__init__()
        # diffusers takes seconds to import, which the bundled model need not wait for
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        self.config = config
        levels = range(len(config.multipliers))
        attention = [level in config.attention_levels for level in levels]
        self.network = AutoencoderKL(
            down_block_types=tuple(
                "AttnDownEncoderBlock2D" if here else "DownEncoderBlock2D" for here in attention
            ),
            up_block_types=tuple(
                "AttnUpDecoderBlock2D" if here else "UpDecoderBlock2D" for here in attention[::-1]
            ),
            block_out_channels=tuple(config.width * factor for factor in config.multipliers),
            layers_per_block=config.res_blocks,
            latent_channels=config.latent_channels,
        )
        replace_group_norms(self.network)

    def moments(self, image: Tensor) -> Tensor:
        """Mean and log variance of the posterior over raw latents.

        Args:
            image: [B, 3, H, W] in [-1, 1]; H and W multiples of the stride.

        Returns:
            [B, 2 * latent_channels, H / stride, W / stride].
        """
        image = image.to(self.network.dtype)
        return self.network.quant_conv(self.network.encoder(image))

    def encode(self, image: Tensor) -> Tensor:
        """Scaled posterior mode [B, latent_channels, H / stride, W / stride]; see `moments`."""
        return self.moments(image).chunk(2, dim=1)[0] * self.config.latent_scale

    def decode(self, latents: Tensor) -> Tensor:
        """Image of scaled latents: [B, latent_channels, h, w] -> [B, 3, H, W], about [-1, 1]."""
        latents = (latents / self.config.latent_scale).to(self.network.dtype)
        return self.network.decoder(self.network.post_quant_conv(latents))


class PaletteAutoencoder(nn.Module):
    """Encodes label images as colour images and reads classes off the decoded colours.

    Args:
        config: size of the autoencoder of colour images.
        colors: RGB colour, 0 to 255, of each class, in the order of their ids.
        void_color: of void, a class more after the others; None if there is none.
    """

    def __init__(
        self,
        config: ImageAutoencoderConfig,
        colors: Sequence[tuple[int, int, int]],
        void_color: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.stride = config.stride
        self.images = ImageAutoencoder(config)
        palette = [*colors] if void_color is None else [*colors, void_color]
        # integers, so that a cast of the network to half precision leaves them alone
        self.colors: Tensor
        self.register_buffer("colors", torch.tensor(palette, dtype=torch.uint8))

    def paint(self, labels: Tensor) -> Tensor:
        """[B, H, W] integer ids -> colour image [B, 3, H, W] in [-1, 1], float32.

        Ids of no class (255) get the last colour, which is void's if there is one.
        """
        index = labels.long().clamp(max=len(self.colors) - 1)
        return self._unit_colors()[index].movedim(-1, 1) * 2 - 1

    def encode(self, labels: Tensor) -> Tensor:
        """[B, H, W] integer ids -> scaled latents [B, latent_channels, h, w]."""
        return self.images.encode(self.paint(labels))

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, latent_channels, h, w] -> class logits [B, classes, H, W] float32."""
        return self.classify(self.images.decode(latents))

    def classify(self, image: Tensor) -> Tensor:
        """Class logits of a colour image.

        They are the log likelihoods of each pixel under normal noise around the colours of the
        classes, up to a constant of the pixel: the largest belongs to the nearest colour.

        Args:
            image: [B, 3, H, W], about [-1, 1].

        Returns:
            [B, classes, H, W] float32.
        """
        colors = self._unit_colors()
        # -|x - c|^2 / 2 without the |x|^2 that all classes share
        bias = -0.5 * colors.square().sum(dim=1)
        pixels = image.float() * 0.5 + 0.5
        if torch.compiler.is_dynamo_compiling():
            # one with the softmax, where the result of a convolution would go through memory
            products = (pixels[:, None] * colors[:, :, None, None]).sum(dim=2)
            return (products + bias[:, None, None]) / _COLOR_STD**2
        return functional.conv2d(pixels, colors[:, :, None, None], bias) / _COLOR_STD**2

    def _unit_colors(self) -> Tensor:
        """[classes, 3] float32 in [0, 1]."""
        return self.colors.float() / 255
