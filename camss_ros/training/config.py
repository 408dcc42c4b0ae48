"""What a training run is made from: dataclasses, which check their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.model.autoencoder import MaskAutoencoderConfig
from camss_ros.model.backbone import STAGE_COUNT
from camss_ros.model.config import CamSegConfig, ConcatTransformerConfig, TwinConfig
from camss_ros.model.fast_decoder import FastDecoderConfig
from camss_ros.model.schedule import SamplingOptions
from camss_ros.seeds import check_seed
from camss_ros.training.limits import above_zero, at_least, between
from camss_ros.training.masking import RandomlyKnown, TruncatedNormalRatio
from camss_ros.training.segmenter_losses import SegmenterLossOptions


@dataclass(frozen=True)
class SourceConfig:
    """A data set that is trained on.

    Attributes:
        name: of its reader (docs/datasets.md).
        root: its folder, below `DataConfig.root` unless it is absolute.
        split: trained on; several are joined by "+", such as "train+val".
        validation_split: validated on; null for none.
        share: how often its frames are drawn, as a part of the sum of all shares.
        size: (height, width) frames are resized to when read (see `sources.resize_pair`); null
            keeps theirs. Frames are validated at this size, too.
    """

    name: str
    root: str = "."
    split: str = "train"
    validation_split: str | None = "val"
    share: float = 1.0
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        above_zero("share", self.share)
        for side in self.size or ():
            at_least("size", side, 16)  # what becomes one token


@dataclass(frozen=True)
class DataConfig:
    """What is trained and validated on.

    Attributes:
        sources: the data sets.
        root: the folder that theirs are in; may be left to the command line.
        validation_every: every n-th of the frames to validate on is taken.
        label_set: the classes of the model; null for those of the first source. Labels of the
            sources are mapped onto them, and may stand for several (docs/training.md).
        in_memory: keep all frames in memory; else they are read from disk each time.
        workers: processes that read and augment beside each training process; 0 for none.
        synthetic_scenes: scenes of the synthetic street (camvid11 labels only) to draw.
        synthetic_share: share of the samples that comes from them.
        focus_share: share of the samples whose window is laid around a pixel of one of
            `focus_classes`, where the frame has any.
        focus_classes: names of rare classes.
    """

    sources: tuple[SourceConfig, ...]
    root: str | None = None
    validation_every: int = 1
    label_set: str | None = None
    in_memory: bool = True
    workers: int = 0
    synthetic_scenes: int = 0
    synthetic_share: float = 0.0
    focus_share: float = 0.0
    focus_classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources must name a data set")
        if all(source.validation_split is None for source in self.sources):
            raise ValueError("one of the sources must have a validation_split")
        at_least("validation_every", self.validation_every, 1)
        for name in ("workers", "synthetic_scenes"):
            at_least(name, getattr(self, name), 0)
        for name in ("synthetic_share", "focus_share"):
            between(name, getattr(self, name), 0, 1)
        if self.synthetic_share > 0 and self.synthetic_scenes == 0:
            raise ValueError("synthetic_share above 0 needs synthetic_scenes")
        if self.focus_share > 0 and not self.focus_classes:
            raise ValueError("focus_share above 0 needs focus_classes")


@dataclass(frozen=True)
class LoopOptions:
    """How long and how fast to train.

    Attributes:
        steps: optimizer steps, at most.
        minutes: time of the run, over all its resumptions, after which it ends if it has not done
            its steps; null for no limit. The schedule follows whichever is further on. The last
            validation comes on top.
        patience: validations in a row without a better mIoU after which the run ends (early
            stopping); null for never.
        batch: samples of a step, over all processes and accumulated micro-batches.
        learning_rate: its peak.
        schedule: after the warm-up: "cosine" down to 2 % of the peak, or "constant".
        warmup: steps of linear warm-up.
        weight_decay: of matrices and convolutions; norms, biases, position tables and tokens have
            none.
        betas: of AdamW.
        clip: largest norm of the gradient.
        ema_decay: of the averaged weights, approached as (1 + n) / (10 + n).
        precision: of the forward passes (autocast); weights and optimizer are float32.
        accumulation: micro-batches of a step.
        log_every, save_every, evaluate_every: steps between metrics, checkpoints (which come every
            five minutes at least) and validations.
        seed: of weights, samples and noise.
    """

    steps: int
    batch: int
    learning_rate: float
    minutes: float | None = None
    patience: int | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 100
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 3.0
    ema_decay: float = 0.998
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    accumulation: int = 1
    log_every: int = 20
    save_every: int = 100
    evaluate_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulation", "log_every", "save_every", "evaluate_every"):
            at_least(name, getattr(self, name), 1)
        for name in ("warmup", "weight_decay"):
            at_least(name, getattr(self, name), 0)
        check_seed(self.seed)
        for name in ("learning_rate", "clip"):
            above_zero(name, getattr(self, name))
        if self.minutes is not None:
            above_zero("minutes", self.minutes)
        if self.patience is not None:
            at_least("patience", self.patience, 1)
        between("ema_decay", self.ema_decay, 0, 1)
        for beta in self.betas:
            if not 0 <= beta < 1:
                raise ValueError(f"betas must be from 0 to below 1, not {beta}")


@dataclass(frozen=True)
class AutoencoderConfig:
    """A training of the mask autoencoder.

    Attributes:
        data, loop: see there.
        model: size of the autoencoder.
        augmentation: of the labels; photometry does not matter.
        kl_weight: of the KL divergence of one latent place against the mean cross-entropy.
        shuffled_share: share of the samples whose classes trade places at random, so that a rare
            class is seen in every shape.
        start_from: model (directory, bundled name, Hub id) whose mask autoencoder, of the same
            size and number of classes, the run starts from; null for a fresh start.
        frozen_decoder: the encoder alone is trained, for the decoder of `start_from`, which stays
            as it segments, and near the latents that the denoiser knows; the run writes the whole
            model.
    """

    data: DataConfig
    loop: LoopOptions
    model: MaskAutoencoderConfig = MaskAutoencoderConfig()
    augmentation: AugmentationOptions = AugmentationOptions(size=(256, 256), recolour=0.0)
    kl_weight: float = 1e-4
    shuffled_share: float = 0.0
    start_from: str | None = None
    frozen_decoder: bool = False

    def __post_init__(self) -> None:
        between("shuffled_share", self.shuffled_share, 0, 1)
        at_least("kl_weight", self.kl_weight, 0)
        if self.frozen_decoder and self.start_from is None:
            raise ValueError("frozen_decoder needs the model of the decoder: give start_from")
        if not self.model.has_encoder or self.model.codebook_size is not None:
            raise ValueError(
                "model must have an encoder and no codebook_size (`study kl-vs-vq` trains those)"
            )


@dataclass(frozen=True)
class SegmenterConfig:
    """A training of the segmenter.

    Attributes:
        data, loop, losses: see there.
        model: the network; an empty `label_set` stands for the data's classes.
        augmentation: of images and labels.
        masking: which mask tokens a sample shows as known.
        autoencoder: of the masks: `autoencoder.pt` of `train autoencoder`, the official KL-f16
            checkpoint, or a model directory that has it. May be left to `start_from`.
        start_from: checkpoint.pt of an earlier run, or a model (directory, bundled name, Hub id),
            whose weights the run starts from; null for a fresh start.
        imagenet_backbone: a fresh start takes ImageNet weights for the backbone.
        backbone_rate: factor on the learning rate of the backbone.
        decoder_rate: factor on the learning rate of the mask decoder; 0 keeps it as it is.
        frozen_stages: stages of the backbone, from its stem on, that are kept as they are.
        gradient_checkpointing: compute transformer blocks twice rather than keep their activations.
        validation: how label images are drawn for the validation.
    """

    data: DataConfig
    loop: LoopOptions
    model: CamSegConfig
    augmentation: AugmentationOptions = AugmentationOptions()
    masking: RandomlyKnown | TruncatedNormalRatio = RandomlyKnown()
    losses: SegmenterLossOptions = SegmenterLossOptions()
    autoencoder: str | None = None
    start_from: str | None = None
    imagenet_backbone: bool = True
    backbone_rate: float = 0.5
    decoder_rate: float = 0.0
    frozen_stages: int = 0
    gradient_checkpointing: bool = False
    validation: SamplingOptions = SamplingOptions(steps=2)

    def __post_init__(self) -> None:
        for name in ("backbone_rate", "decoder_rate"):
            at_least(name, getattr(self, name), 0)
        between("frozen_stages", self.frozen_stages, 0, STAGE_COUNT)
        masks = self.model.mask_autoencoder
        if isinstance(masks, MaskAutoencoderConfig) and not masks.has_encoder:
            raise ValueError(
                "model.mask_autoencoder.has_encoder must be true, as its latents are learned from: "
                "what was saved for inference only can't be trained further"
            )
        if isinstance(self.model.transformer, ConcatTransformerConfig):
            self._check_fixed_grid()

    def _check_fixed_grid(self) -> None:
        """Refuse what would end the run at its first step, or only at its first validation."""
        validated = [source.size for source in self.data.sources if source.validation_split]
        expected = self.model.input_size
        for size in (self.augmentation.size, *validated):
            if size not in (None, expected):
                raise ValueError(
                    f"augmentation.size and the sizes of data.sources must be model.input_size, "
                    f"{list(expected)}, not {list(size)}: its transformer has position tables"
                )
        if isinstance(self.masking, RandomlyKnown) and self.masking.known_share > 0:
            raise ValueError(
                "masking must leave equally many tokens to all samples for this transformer: take "
                "{center: 1.0, std: 0.25, minimum: 0.7}"
            )


@dataclass(frozen=True)
class TwinTrainingConfig:
    """A training of the discriminative twin (`model/twin.py`).

    Attributes:
        data, loop, model, augmentation, imagenet_backbone, backbone_rate, frozen_stages: as in
            `SegmenterConfig`.
        class_weight_power, jaccard_weight: as in `SegmenterLossOptions`.
        start_from: segmenter (directory, bundled name, Hub id) whose backbone, transformer and
            mask decoder the twin starts from, but for the layers that read mask latents; null for
            a fresh start.
    """

    data: DataConfig
    loop: LoopOptions
    model: TwinConfig
    augmentation: AugmentationOptions = AugmentationOptions()
    class_weight_power: float = 0.5
    jaccard_weight: float = 0.0
    start_from: str | None = None
    imagenet_backbone: bool = True
    backbone_rate: float = 0.5
    frozen_stages: int = 0

    def __post_init__(self) -> None:
        for name in ("class_weight_power", "jaccard_weight", "backbone_rate"):
            at_least(name, getattr(self, name), 0)
        between("frozen_stages", self.frozen_stages, 0, STAGE_COUNT)


@dataclass(frozen=True)
class DecoderTrainingConfig:
    """A training of a fast mask decoder (`model/fast_decoder.py`).

    Attributes:
        data, loop: see there.
        start_from: the model that gets it (directory or Hub id), whose KL decoder it learns from.
        decoder: its size.
        augmentation: of the labels; photometry does not matter.
        noise: largest deviation of the noise that is added to the latents of label images, whose
            own deviation is about 1; those that the denoiser draws are not exact either.
    """

    data: DataConfig
    loop: LoopOptions
    start_from: str
    decoder: FastDecoderConfig = FastDecoderConfig()
    augmentation: AugmentationOptions = AugmentationOptions(size=(256, 256), recolour=0.0)
    noise: float = 0.5

    def __post_init__(self) -> None:
        at_least("noise", self.noise, 0)


AnyConfig = AutoencoderConfig | SegmenterConfig | TwinTrainingConfig | DecoderTrainingConfig
Config = TypeVar("Config", bound=AnyConfig)
