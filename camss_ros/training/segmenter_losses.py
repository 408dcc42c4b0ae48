"""Losses of the segmenter on one batch: diffusion of the latents, and of what they decode to."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from camss_ros.model.camseg import CamSeg
from camss_ros.model.label_class import VOID
from camss_ros.model.loss import diffusion_loss
from camss_ros.model.schedule import TRAIN_STEPS, predict_x0, q_sample


@dataclass(frozen=True)
class SegmenterLossOptions:
    """Weights and draws of the losses.

    Attributes:
        diffusion_batch_multiplier: (t, noise) draws for each token (paper section 4.1).
        auxiliary_weight: of the cross-entropy of the decoded one-step prediction.
        start: timestep of that prediction, half of them from zero and half from noise.
    """

    diffusion_batch_multiplier: int = 4
    auxiliary_weight: float = 0.5
    start: int = 950


@dataclass(frozen=True)
class SegmenterBatch:
    """Crops of one step with everything random in it."""

    images: Tensor  # [B, 3, H, W] 0-255
    labels: Tensor  # [B, H, W] int64, 255 where void
    known: Tensor  # [B, n] bool
    noise: torch.Generator


def segmenter_losses(
    model: CamSeg, batch: SegmenterBatch, weights: Tensor, options: SegmenterLossOptions
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
