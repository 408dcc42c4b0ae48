"""Train the segmenter: backbone, transformer and denoiser, with the mask autoencoder frozen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from camss_ros.data.augmentation import AugmentationOptions, augment
from camss_ros.model.camseg import CamSeg
from camss_ros.model.schedule import SamplingOptions
from camss_ros.training.loop import LoopOptions, train
from camss_ros.training.samples import LabelledFrames, class_weights, validation_miou
from camss_ros.training.segmenter_losses import (
    SegmenterBatch,
    SegmenterLossOptions,
    segmenter_losses,
)

_DECODER = "mask_autoencoder.decoder"


@dataclass(frozen=True)
class SegmenterTraining:
    """What `train_segmenter` does beside the loop.

    Attributes:
        batch: crops a step.
        crop: geometry and photometry of the crops.
        focus_share: share of the crops that contain a pixel of a class of `focus_classes`.
        focus_classes: ids of rare classes, drawn evenly.
        known_share: share of the crops with some of their mask tokens known, as in iterative
            decoding; the others have none, as in one-pass decoding.
        most_known: largest share of tokens known in such a crop.
        losses: see `SegmenterLossOptions`.
        frozen_stages: stages of the backbone, after the stem, that stay as they are (with the stem
            where at least one does): their large maps make half the cost of a step.
        backbone_rate: factor on the learning rate of the pretrained backbone.
        decoder_rate: factor on the learning rate of the mask decoder; 0 keeps it as it is.
        seed: of weights, crops, timesteps and noise.
    """

    batch: int = 8
    crop: AugmentationOptions = AugmentationOptions()
    focus_share: float = 0.0
    focus_classes: tuple[int, ...] = ()
    known_share: float = 0.4
    most_known: float = 0.7
    losses: SegmenterLossOptions = SegmenterLossOptions()
    frozen_stages: int = 0
    backbone_rate: float = 0.5
    decoder_rate: float = 0.0
    seed: int = 0


def train_segmenter(
    model: CamSeg,
    frames: LabelledFrames,
    validation: LabelledFrames,
    output: Path,
    loop: LoopOptions,
    options: SegmenterTraining = SegmenterTraining(),
) -> CamSeg:
    """Train all of `model` but its mask encoder; return the averaged model.

    The loss is the diffusion loss on v over the masked tokens, each weighted by its share of
    labelled pixels, plus a class-weighted cross-entropy of the one-step prediction of the clean
    latent, decoded by the mask decoder.
    """
    torch.manual_seed(options.seed)
    model.mask_autoencoder.requires_grad_(False)
    if options.decoder_rate > 0:
        model.get_submodule(_DECODER).requires_grad_(True)
    if options.frozen_stages and model.tokenizer is not None:
        backbone = model.tokenizer.backbone
        for part in (backbone.stem, *backbone.stages[: options.frozen_stages]):
            part.requires_grad_(False)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = class_weights(frames)

    def losses(step: int) -> dict[str, Tensor]:
        _set_modes(model)
        return segmenter_losses(
            model, _draw_batch(frames, model.stride, options, step), weights, options.losses
        )

    def evaluate(average: nn.Module) -> dict[str, float]:
        assert isinstance(average, CamSeg)
        plan = average.plan(SamplingOptions(steps=1))

        def segment(images: Tensor, _: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=loop.bf16):
                return average.generate(images.permute(0, 3, 1, 2), plan).argmax(dim=1)

        return validation_miou(validation, segment)

    def rate_of(name: str) -> float:
        if name.startswith(_DECODER):
            return options.decoder_rate
        return options.backbone_rate if name.startswith("tokenizer.backbone") else 1.0

    average = train(model, losses, evaluate, output, loop, rate_of)
    assert isinstance(average, CamSeg)
    average.save_pretrained(output, torch.float16, inference_only=True)
    return average


def _set_modes(model: CamSeg) -> None:
    """Training mode, but for the statistics of the autoencoder and of ImageNet."""
    model.train()
    model.mask_autoencoder.eval()
    if model.tokenizer is not None:
        model.tokenizer.backbone.eval()


def _draw_batch(
    frames: LabelledFrames, stride: int, options: SegmenterTraining, step: int
) -> SegmenterBatch:
    rng = np.random.default_rng([options.seed, step])
    crops = [_draw_crop(frames, options, rng) for _ in range(options.batch)]
    images = torch.from_numpy(np.stack([image for image, _ in crops])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([label for _, label in crops])).long()
    tokens = (labels.shape[1] // stride) * (labels.shape[2] // stride)
    has_known = rng.random((options.batch, 1)) < options.known_share
    share = rng.uniform(0.0, options.most_known, (options.batch, 1)) * has_known
    known = torch.from_numpy(rng.random((options.batch, tokens)) < share)
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return SegmenterBatch(images, labels, known, noise)


def _draw_crop(
    frames: LabelledFrames, options: SegmenterTraining, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if rng.random() < options.focus_share:
        image, label, focus = frames.draw_focused(rng, options.focus_classes)
        return augment(image, label, options.crop, rng, focus)
    return augment(*frames.draw(rng), options.crop, rng)
