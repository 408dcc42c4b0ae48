"""A small decoder from latents to class logits, in place of the KL autoencoder's.

The official decoder paints a colour image at full resolution, from which classes are read off.
This one predicts the classes themselves, at a quarter of the resolution. It is distilled from the
decoder that it stands for (`camss-ros train decoder`).
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from camss_ros.model.autoencoder import residual_blocks
from camss_ros.model.sizes import check_sizes


@dataclass(frozen=True)
class FastDecoderConfig:
    """Size of a `FastDecoder`; about a million parameters by default.

    Attributes:
        widths: channels of each level, the first at the latents' resolution, each further one at
            twice that of the one before.
        depths: residual blocks of each level.

    Raises:
        ValueError: no level, or not one width and one depth for each, or a size is too small.
    """

    widths: tuple[int, ...] = (128, 128, 64)
    depths: tuple[int, ...] = (2, 1, 1)

    def __post_init__(self) -> None:
        if not self.widths or len(self.widths) != len(self.depths):
            raise ValueError(
                f"widths {list(self.widths)} and depths {list(self.depths)} must have one entry "
                "for each level"
            )
        check_sizes(self, widths=1, depths=0)


class FastDecoder(nn.Module):
    """Convolutions from latents to class logits, then bilinear interpolation.

    Args:
        config: size.
        latent_channels: of the latents.
        classes: void included, if it is one.
        stride: pixels that a latent stands for in each direction.

    Raises:
        ValueError: more levels than the stride has.
    """

    def __init__(
        self, config: FastDecoderConfig, latent_channels: int, classes: int, stride: int
    ) -> None:
        super().__init__()
        scale = 2 ** (len(config.widths) - 1)
        if stride % scale:
            raise ValueError(f"{len(config.widths)} levels are too many for a stride of {stride}")
        self.config = config
        self._scale = stride // scale
        self.stem = nn.Conv2d(latent_channels, config.widths[0], 3, padding=1)
        levels: list[nn.Module] = []
        for index, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            if index > 0:
                levels += [nn.Conv2d(config.widths[index - 1], 4 * width, 1), nn.PixelShuffle(2)]
            levels.append(residual_blocks(width, depth))
        self.levels = nn.Sequential(*levels)
        self.head = nn.Conv2d(config.widths[-1], classes, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, latent_channels, h, w] -> class logits [B, classes, H, W] float32."""
        latents = latents.to(self.head.weight.dtype)
        logits = self.head(self.levels(functional.relu(self.stem(latents)))).float()
        return functional.interpolate(
            logits, scale_factor=float(self._scale), mode="bilinear", align_corners=False
        )
