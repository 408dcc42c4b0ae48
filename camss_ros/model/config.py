"""What the networks are built from: what a `config.json` holds."""

from __future__ import annotations

from dataclasses import dataclass

from camss_ros.images.label_class import LabelClass
from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig
from camss_ros.model.fast_decoder import FastDecoderConfig
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig
from camss_ros.model.schedule import Prediction


@dataclass(frozen=True)
class TokenizerConfig:
    """EfficientNet-Lite0 tokens; `channels` of a token."""

    channels: int = 256


@dataclass(frozen=True)
class TransformerConfig:
    """Size of the paired-token transformer.

    Raises:
        ValueError: `width` is no multiple of four times `heads`.
    """

    width: int = 256
    depth: int = 6
    heads: int = 8
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        _check_heads(self.width, self.heads, 4)  # as rotary positions want it


@dataclass(frozen=True)
class ConcatTransformerConfig:
    """Size of the official transformer over image tokens followed by mask tokens.

    Raises:
        ValueError: `width` is no multiple of `heads`.
    """

    width: int = 768
    encoder_depth: int = 12
    decoder_depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        _check_heads(self.width, self.heads, 1)


def _check_heads(width: int, heads: int, multiple: int) -> None:
    if heads < 1 or width < 1 or width % (multiple * heads):
        factor = "" if multiple == 1 else f"{multiple} times "
        raise ValueError(
            f"width must be a multiple of {factor}the number of heads: not {width} for {heads}"
        )


@dataclass(frozen=True)
class DenoiserConfig:
    """Size of the diffusion MLP."""

    width: int = 256
    depth: int = 3


@dataclass(frozen=True)
class CamSegConfig:
    """Everything that `CamSeg` is built from.

    Attributes:
        name: of the model, for messages and reports.
        label_set: its classes, ids 0 .. n - 1 in order.
        void_color: RGB of void, if the model predicts void as one class more after the others.
        input_size: default working (height, width), multiples of the stride.
        image_mean, image_std: the network sees (pixel - mean) / std of 0-255 RGB pixels.
        tokenizer: None if the autoencoder of the masks makes the image tokens as well.
        mask_autoencoder: of one-hot labels, or of colour images and palette-coloured labels.
        transformer: over paired, or over image tokens followed by mask tokens; the latter works at
            `input_size` only.
        prediction: what the denoiser's output is.
        learned_variance: the denoiser predicts variances as well.
        fast_decoder: of the mask latents, in place of a decoder of colour images.

    Raises:
        ValueError: the sides of `input_size` are no multiples of the stride.
    """

    name: str
    label_set: tuple[LabelClass, ...]
    void_color: tuple[int, int, int] | None = None
    input_size: tuple[int, int] = (352, 480)
    image_mean: float = 127.0
    image_std: float = 128.0
    tokenizer: TokenizerConfig | None = TokenizerConfig()
    mask_autoencoder: MaskAutoencoderConfig | ImageAutoencoderConfig = MaskAutoencoderConfig()
    transformer: TransformerConfig | ConcatTransformerConfig = TransformerConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    prediction: Prediction = "v"
    learned_variance: bool = False
    fast_decoder: FastDecoderConfig | None = None

    def __post_init__(self) -> None:
        masks = self.mask_autoencoder
        own = masks if isinstance(masks, ImageAutoencoderConfig) else MaskAutoencoder
        _check_size(self.input_size, own.stride)


def _check_size(size: tuple[int, int], stride: int) -> None:
    if any(side < stride or side % stride for side in size):
        raise ValueError(
            f"input_size is {size[0]} x {size[1]}: its sides must be multiples of {stride}"
        )


@dataclass(frozen=True)
class TwinConfig:
    """Everything that `Twin` is built from.

    Attributes:
        name, label_set, input_size, image_mean, image_std: as in `CamSegConfig`.
        tokenizer, transformer: as in the small model.
        decoder: its `latent_channels` are the transformer's width; it has no encoder.

    Raises:
        ValueError: the sides of `input_size` are no multiples of 16.
    """

    name: str
    label_set: tuple[LabelClass, ...]
    input_size: tuple[int, int] = (352, 480)
    image_mean: float = 127.0
    image_std: float = 128.0
    tokenizer: TokenizerConfig = TokenizerConfig()
    transformer: TransformerConfig = TransformerConfig()
    decoder: MaskAutoencoderConfig = MaskAutoencoderConfig(latent_channels=256, has_encoder=False)

    def __post_init__(self) -> None:
        _check_size(self.input_size, MaskAutoencoder.stride)
