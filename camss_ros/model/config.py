"""What the networks are built from: what a `config.json` holds."""

from __future__ import annotations

from dataclasses import dataclass

from camss_ros.images.label_class import LabelClass
from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig
from camss_ros.model.fast_decoder import FastDecoderConfig
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig
from camss_ros.model.schedule import Prediction
from camss_ros.model.sizes import check_sizes


@dataclass(frozen=True)
class TokenizerConfig:
    """EfficientNet-Lite0 tokens; `channels` of a token.

    Raises:
        ValueError: no channel.
    """

    channels: int = 256

    def __post_init__(self) -> None:
        check_sizes(self, channels=1)


@dataclass(frozen=True)
class TransformerConfig:
    """Size of the paired-token transformer.

    Raises:
        ValueError: `width` is no multiple of four times `heads`, or a size is too small.
    """

    width: int = 256
    depth: int = 6
    heads: int = 8
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        _check_heads(self.width, self.heads, 4)  # as rotary positions want it
        check_sizes(self, depth=0)
        _check_mlp(self.width, self.mlp_ratio)


@dataclass(frozen=True)
class ConcatTransformerConfig:
    """Size of the official transformer over image tokens followed by mask tokens.

    Raises:
        ValueError: `width` is no multiple of `heads`, or a size is too small.
    """

    width: int = 768
    encoder_depth: int = 12
    decoder_depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        _check_heads(self.width, self.heads, 1)
        check_sizes(self, encoder_depth=0, decoder_depth=1)
        _check_mlp(self.width, self.mlp_ratio)


def _check_heads(width: int, heads: int, multiple: int) -> None:
    if heads < 1 or width < 1 or width % (multiple * heads):
        factor = "" if multiple == 1 else f"{multiple} times "
        raise ValueError(
            f"width must be a multiple of {factor}the number of heads: not {width} for {heads}"
        )


def _check_mlp(width: int, ratio: float) -> None:
    if width * ratio < 1:
        raise ValueError(f"mlp_ratio {ratio} leaves no channel of a width of {width}")


@dataclass(frozen=True)
class DenoiserConfig:
    """Size of the diffusion MLP.

    Raises:
        ValueError: no channel, or fewer than no block.
    """

    width: int = 256
    depth: int = 3

    def __post_init__(self) -> None:
        check_sizes(self, width=1, depth=0)


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
        ValueError: the sides of `input_size` are no multiples of the stride, `image_std` is not
            above 0, or the ids of `label_set` are others.
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
        _check_input(self, own.stride)


def _check_input(config: CamSegConfig | TwinConfig, stride: int) -> None:
    height, width = config.input_size
    if any(side < stride or side % stride for side in (height, width)):
        raise ValueError(
            f"input_size is {height} x {width}: its sides must be multiples of {stride}"
        )
    if not config.image_std > 0:
        raise ValueError(f"image_std must be above 0, not {config.image_std}")
    ids = [label_class.id for label_class in config.label_set]
    if ids != list(range(len(ids))):
        raise ValueError(f"label_set has the ids {ids}: expected 0, 1, 2, ... in order")


@dataclass(frozen=True)
class TwinConfig:
    """Everything that `Twin` is built from.

    Attributes:
        name, label_set, input_size, image_mean, image_std: as in `CamSegConfig`.
        tokenizer, transformer: as in the small model.
        decoder: its `latent_channels` are the transformer's width; it has no encoder.

    Raises:
        ValueError: as of `CamSegConfig`.
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
        _check_input(self, MaskAutoencoder.stride)
