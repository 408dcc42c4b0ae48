"""Losses of the segmenter on one batch: diffusion of the latents, and of what they decode to."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from camss_ros.model.camseg import CamSeg
from camss_ros.model.diffusion import ddim_move, predict_x0, q_sample
from camss_ros.model.loss import diffusion_loss
from camss_ros.model.schedule import TRAIN_STEPS
from camss_ros.training.decoded_loss import DecodedLoss
from camss_ros.training.global_batch import global_sum
from camss_ros.training.limits import at_least, between


@dataclass(frozen=True)
class SegmenterLossOptions:
    """Weights and draws of the losses.

    Attributes:
        diffusion_batch_multiplier: (t, noise) draws for each token (paper section 4.1).
        auxiliary_weight: of the class-weighted cross-entropy of the decoded estimate;
            0 leaves it out.
        class_weight_power: its class weights are the classes' shares to minus this; 0 weighs all
            pixels alike.
        jaccard_weight: of one minus the soft Jaccard index of the same, mean over classes, within
            the auxiliary loss.
        start: timestep that the estimate starts from.
    """

    diffusion_batch_multiplier: int = 4
    auxiliary_weight: float = 0.5
    class_weight_power: float = 0.5
    jaccard_weight: float = 0.0
    start: int = 950

    def __post_init__(self) -> None:
        at_least("diffusion_batch_multiplier", self.diffusion_batch_multiplier, 1)
        for name in ("auxiliary_weight", "class_weight_power", "jaccard_weight"):
            at_least(name, getattr(self, name), 0)
        between("start", self.start, 1, TRAIN_STEPS - 1)


def segmenter_losses(
    model: CamSeg, batch: dict[str, Tensor], judge: DecodedLoss, options: SegmenterLossOptions
) -> dict[str, Tensor]:
    """`loss` and its parts, `diffusion` and `auxiliary`, of the global batch.

    `diffusion` is the paper's loss (section 3.3) over the masked tokens; where void is no class,
    each is weighted by its share of pixels whose class is known. `auxiliary` judges the class map
    that a few sampling steps lead to.

    Args:
        batch: samples of this process, as `samples` and `train_segmenter` draw them: images uint8
            [B, 3, H, W], labels uint8 [B, H, W], known bool [B, n], timesteps int64 [B, m, n],
            noise [B, m, n, C], and for the auxiliary loss start_kind and second_timestep int64 [B]
            and start_noise [B, n, C].
        judge: of the class map.
    """
    labels, known = batch["labels"].long(), batch["known"]
    image_map, target_map = _tokens(model, batch["images"], labels)
    grid = (target_map.shape[-2], target_map.shape[-1])
    target = target_map.flatten(2).transpose(1, 2)
    condition = model.condition(image_map, target, known)
    embedded = model.denoiser.cond_embed(condition)

    diffusion = _masked_diffusion_loss(model, batch, labels, target, embedded)
    if options.auxiliary_weight == 0:
        return {"loss": diffusion, "diffusion": diffusion}
    estimate = _few_step_estimate(model, batch, embedded, options.start)
    decoded = torch.where(known[..., None], target, estimate)
    logits = model.mask_autoencoder.decode(model.latent_map(decoded, grid)).float()
    if model.config.void_color is not None:
        labels = labels.clamp(max=logits.shape[1] - 1)
    auxiliary = judge(logits, labels)
    return {
        "loss": diffusion + options.auxiliary_weight * auxiliary,
        "diffusion": diffusion,
        "auxiliary": auxiliary,
    }


def _tokens(model: CamSeg, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of image tokens and of mask latents."""
    if model.tokenizer is None:
        # the official latents are computed in float32
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            image_map = model.image_tokens(model.normalize(images))
            return image_map, model.mask_autoencoder.encode(labels)
    with torch.no_grad():
        target_map = model.mask_autoencoder.encode(labels)
    return model.image_tokens(model.normalize(images)), target_map


def _masked_diffusion_loss(
    model: CamSeg, batch: dict[str, Tensor], labels: Tensor, target: Tensor, embedded: Tensor
) -> Tensor:
    t, noise = batch["timesteps"], batch["noise"]
    weight = (~batch["known"]).float()
    if model.config.void_color is None:
        labelled = (labels < len(model.config.label_set)).float()[:, None]
        weight = functional.avg_pool2d(labelled, model.stride).flatten(1) * weight
    flat_t, flat_noise = t.flatten(), noise.flatten(0, 2)
    x0 = target[:, None].expand_as(noise).flatten(0, 2)
    condition = embedded[:, None].expand(*t.shape, -1).flatten(0, 2)
    noisy = q_sample(x0, flat_t, flat_noise)
    output = model.denoiser(noisy, model.denoiser.time_embed(flat_t), condition)
    error = diffusion_loss(output, x0, noisy, flat_t, flat_noise, model.config.prediction)
    token_weight = weight[:, None].expand_as(t).flatten()
    sums = global_sum(torch.stack([(error * token_weight).sum(), token_weight.sum()]))
    return sums[0] / sums[1].clamp(min=1.0)


def _few_step_estimate(
    model: CamSeg, batch: dict[str, Tensor], embedded: Tensor, start: int
) -> Tensor:
    """Clean latents [B, n, C] as a sampler of one or two steps estimates them.

    Of four samples, one starts from noise and three from zero; two of those take a first step,
    whose gradient is not followed, to a random earlier time. So the denoiser learns to go on from
    where its own estimates lead, which are less noisy than the diffused latents it is trained on.
    """
    kind, to = batch["start_kind"], batch["second_timestep"]
    x = batch["start_noise"] * (kind == 0)[:, None, None]
    t = torch.full_like(to, start)

    def estimate(x: Tensor, t: Tensor) -> Tensor:
        output = model.denoiser(x, model.denoiser.time_embed(t)[:, None], embedded)
        return predict_x0(x, t, output[..., : x.shape[-1]].float(), model.config.prediction)

    with torch.no_grad():
        moved = ddim_move(x, t, estimate(x, t), to)
    second = kind >= 2
    x, t = torch.where(second[:, None, None], moved, x), torch.where(second, to, t)
    return estimate(x, t)
