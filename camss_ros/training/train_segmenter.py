"""Train the segmenter: backbone, transformer and denoiser, with the mask autoencoder frozen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from camss_ros.model.camseg import CamSeg
from camss_ros.model.label_class import VOID
from camss_ros.model.loss import diffusion_loss
from camss_ros.model.schedule import (
    TRAIN_STEPS,
    SamplingOptions,
    predict_x0,
    q_sample,
)
from camss_ros.training.crops import CropOptions, random_crop
from camss_ros.training.loop import LoopOptions, train
from camss_ros.training.samples import LabelledFrames, class_weights, validation_miou

_DECODER = "mask_autoencoder.decoder"


@dataclass(frozen=True)
class SegmenterTraining:
    """What `train_segmenter` does beside the loop.

    Attributes:
        batch: crops a step.
        crop: geometry and photometry of the crops.
        diffusion_batch_multiplier: (t, noise) draws for each token (paper section 4.1).
        known_share: share of the crops with some of their mask tokens known, as in iterative
            decoding; the others have none, as in one-pass decoding.
        most_known: largest share of tokens known in such a crop.
        auxiliary_weight: of the cross-entropy of the decoded one-step prediction.
        start: timestep of that prediction, half of them from zero and half from noise.
        backbone_rate: factor on the learning rate of the pretrained backbone.
        decoder_rate: factor on the learning rate of the mask decoder; 0 keeps it as it is.
        seed: of weights, crops, timesteps and noise.
    """

    batch: int = 8
    crop: CropOptions = CropOptions()
    diffusion_batch_multiplier: int = 4
    known_share: float = 0.4
    most_known: float = 0.7
    auxiliary_weight: float = 0.5
    start: int = 950
    backbone_rate: float = 0.5
    decoder_rate: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class _Batch:
    """Crops of one step with everything random in it."""

    images: Tensor  # [B, 3, H, W] 0-255
    labels: Tensor  # [B, H, W] int64, 255 where void
    known: Tensor  # [B, n] bool
    noise: torch.Generator


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
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = class_weights(frames)

    def losses(step: int) -> dict[str, Tensor]:
        _set_modes(model)
        return segmenter_losses(
            model, _draw_batch(frames, model.stride, options, step), weights, options
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


def segmenter_losses(
    model: CamSeg, batch: _Batch, weights: Tensor, options: SegmenterTraining
) -> dict[str, Tensor]:
    """`loss` and its parts, `diffusion` and `auxiliary`, for one batch."""
    with torch.no_grad():
        target_map = model.mask_autoencoder.encode(batch.labels)
        grid = (target_map.shape[-2], target_map.shape[-1])
        target = target_map.flatten(2).transpose(1, 2)
        labelled = (batch.labels != VOID).float()[:, None]
        weight = functional.avg_pool2d(labelled, model.stride).flatten(1) * ~batch.known

    token_map = model.image_tokens(model.normalize(batch.images))
    condition = model.condition(token_map, target, batch.known)
    embedded = model.denoiser.cond_embed(condition).flatten(0, 1)

    repeats = options.diffusion_batch_multiplier
    x0 = target.flatten(0, 1).repeat(repeats, 1)
    t = torch.randint(0, TRAIN_STEPS, x0.shape[:1], generator=batch.noise)
    noise = torch.randn(x0.shape, generator=batch.noise)
    noisy = q_sample(x0, t, noise)
    output = model.denoiser(noisy, model.denoiser.time_embed(t), embedded.repeat(repeats, 1))
    error = diffusion_loss(output, x0, noisy, t, noise, "v")
    token_weight = weight.flatten().repeat(repeats)
    diffusion = (error * token_weight).sum() / token_weight.sum().clamp(min=1.0)

    crops = batch.images.shape[0]
    from_noise = (torch.arange(crops) % 2 == 0).repeat_interleave(target.shape[1])[:, None]
    start = torch.full((embedded.shape[0],), options.start)
    x = torch.randn(embedded.shape[0], target.shape[-1], generator=batch.noise) * from_noise
    output = model.denoiser(x, model.denoiser.time_embed(start), embedded).float()
    predicted = predict_x0(x, start, output, "v").unflatten(0, (crops, -1))
    decoded = torch.where(batch.known[..., None], target, predicted)
    logits = model.mask_autoencoder.decode(model.latent_map(decoded, grid)).float()
    auxiliary = functional.cross_entropy(logits, batch.labels, weights, ignore_index=VOID)
    return {
        "loss": diffusion + options.auxiliary_weight * auxiliary,
        "diffusion": diffusion,
        "auxiliary": auxiliary,
    }


def _set_modes(model: CamSeg) -> None:
    """Training mode, but for the statistics of the autoencoder and of ImageNet."""
    model.train()
    model.mask_autoencoder.eval()
    if model.tokenizer is not None:
        model.tokenizer.backbone.eval()


def _draw_batch(
    frames: LabelledFrames, stride: int, options: SegmenterTraining, step: int
) -> _Batch:
    rng = np.random.default_rng([options.seed, step])
    crops = [random_crop(*frames.draw(rng), options.crop, rng) for _ in range(options.batch)]
    images = torch.from_numpy(np.stack([image for image, _ in crops])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([label for _, label in crops])).long()
    tokens = (labels.shape[1] // stride) * (labels.shape[2] // stride)
    has_known = rng.random((options.batch, 1)) < options.known_share
    share = rng.uniform(0.0, options.most_known, (options.batch, 1)) * has_known
    known = torch.from_numpy(rng.random((options.batch, tokens)) < share)
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return _Batch(images, labels, known, noise)
