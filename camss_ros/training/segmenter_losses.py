"""Losses of the segmenter on one batch: diffusion of the latents, and of what they decode to."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from camss_ros.model.camseg import CamSeg
from camss_ros.model.label_class import VOID
from camss_ros.model.loss import diffusion_loss
from camss_ros.model.schedule import TRAIN_STEPS, ddim_move, predict_x0, q_sample


@dataclass(frozen=True)
class SegmenterLossOptions:
    """Weights and draws of the losses.

    Attributes:
        diffusion_batch_multiplier: (t, noise) draws for each token (paper section 4.1).
        auxiliary_weight: of the class-weighted cross-entropy of the decoded estimate.
        jaccard_weight: of one minus the soft Jaccard index of the same, mean over classes, within
            the auxiliary loss.
        start: timestep that the estimate starts from.
    """

    diffusion_batch_multiplier: int = 4
    auxiliary_weight: float = 0.5
    jaccard_weight: float = 0.0
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
    """`loss` and its parts, `diffusion` and `auxiliary`, for one batch.

    `diffusion` is the paper's loss (section 3.3) over the masked tokens, each weighted by its share
    of labelled pixels. `auxiliary` judges the class map that a few sampling steps lead to.
    """
    with torch.no_grad():
        target_map = model.mask_autoencoder.encode(batch.labels)
        grid = (target_map.shape[-2], target_map.shape[-1])
        target = target_map.flatten(2).transpose(1, 2)

    token_map = model.image_tokens(model.normalize(batch.images))
    condition = model.condition(token_map, target, batch.known)
    embedded = model.denoiser.cond_embed(condition)

    diffusion = _masked_diffusion_loss(model, batch, target, embedded, options)
    estimate = _few_step_estimate(model, batch, embedded, options.start)
    decoded = torch.where(batch.known[..., None], target, estimate)
    logits = model.mask_autoencoder.decode(model.latent_map(decoded, grid)).float()
    auxiliary = decoded_loss(logits, batch.labels, weights, options.jaccard_weight)
    return {
        "loss": diffusion + options.auxiliary_weight * auxiliary,
        "diffusion": diffusion,
        "auxiliary": auxiliary,
    }


def _masked_diffusion_loss(
    model: CamSeg,
    batch: SegmenterBatch,
    target: Tensor,
    embedded: Tensor,
    options: SegmenterLossOptions,
) -> Tensor:
    labelled = (batch.labels != VOID).float()[:, None]
    weight = functional.avg_pool2d(labelled, model.stride).flatten(1) * ~batch.known
    repeats = options.diffusion_batch_multiplier
    x0 = target.flatten(0, 1).repeat(repeats, 1)
    t = torch.randint(0, TRAIN_STEPS, x0.shape[:1], generator=batch.noise)
    noise = torch.randn(x0.shape, generator=batch.noise)
    noisy = q_sample(x0, t, noise)
    condition = embedded.flatten(0, 1).repeat(repeats, 1)
    output = model.denoiser(noisy, model.denoiser.time_embed(t), condition)
    error = diffusion_loss(output, x0, noisy, t, noise, "v")
    token_weight = weight.flatten().repeat(repeats)
    return (error * token_weight).sum() / token_weight.sum().clamp(min=1.0)


def _few_step_estimate(
    model: CamSeg, batch: SegmenterBatch, embedded: Tensor, start: int
) -> Tensor:
    """Clean latents [B, n, C] as a sampler of one or two steps estimates them.

    Of four crops, one starts from noise and three from zero; two of those take a first step, whose
    gradient is not followed, to a random earlier time. So the denoiser learns to go on from where
    its own estimates lead, which are less noisy than the diffused latents it is trained on.
    """
    crops, tokens, _ = embedded.shape
    kind = torch.arange(crops) % 4
    draw = torch.randn(crops, tokens, model.latent_channels, generator=batch.noise)
    x = draw * (kind == 0)[:, None, None]
    t = torch.full((crops,), start)

    def estimate(x: Tensor, t: Tensor) -> Tensor:
        output = model.denoiser(x, model.denoiser.time_embed(t)[:, None], embedded)
        return predict_x0(x, t, output.float(), "v")

    with torch.no_grad():
        to = torch.randint(start // 10, start, t.shape, generator=batch.noise)
        moved = ddim_move(x, t, estimate(x, t), to)
    second = kind >= 2
    x, t = torch.where(second[:, None, None], moved, x), torch.where(second, to, t)
    return estimate(x, t)


def decoded_loss(logits: Tensor, labels: Tensor, weights: Tensor, jaccard_weight: float) -> Tensor:
    """Class-weighted cross-entropy, and the soft Jaccard index (IoU) of the batch.

    Args:
        logits: [B, classes, H, W].
        labels: [B, H, W] int64, 255 where void.
        weights: [classes] of the cross-entropy.
        jaccard_weight: of 1 - mean IoU of the probabilities over the classes in `labels`; unlike
            the cross-entropy it does not drown a thin class in the area of the others.
    """
    log_probabilities = logits.log_softmax(dim=1)
    loss = functional.nll_loss(log_probabilities, labels, weights, ignore_index=VOID)
    if jaccard_weight == 0:
        return loss
    # Sums by class through gathers and a product, without one-hot maps of the full size.
    valid = (labels != VOID).flatten()
    true_class = labels.flatten()[valid]
    probabilities = log_probabilities.exp()
    hit = probabilities.gather(1, labels.where(labels != VOID, 0)[:, None]).flatten()[valid]
    zeros = logits.new_zeros(logits.shape[1])
    overlap = zeros.index_add(0, true_class, hit)
    area = zeros.index_add(0, true_class, torch.ones_like(hit))
    predicted = torch.einsum(
        "bcp,bp->c", probabilities.flatten(2), valid.view(len(labels), -1).float()
    )
    iou = overlap / (predicted + area - overlap).clamp(min=1e-6)
    present = area > 0
    return loss + jaccard_weight * (1 - iou[present].mean())
