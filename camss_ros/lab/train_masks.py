"""Trains and scores one autoencoder of label images, for the KL/VQ study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camss_ros.datasets.augmentation import AugmentationOptions, random_view
from camss_ros.errors import CamssError
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.images.label_sets import LabelSet
from camss_ros.lab.mask_autoencoders import Builder, StudiedAutoencoder
from camss_ros.model.vector_quantizer import perplexity

STRIDE = 16
THIN_CLASSES = ("pole", "sign", "traffic sign", "pedestrian", "person")
_CLIP = 3.0  # largest norm of the gradient


class StudyError(CamssError):
    """A run of a study cannot be finished; the finished ones are kept."""


@dataclass(frozen=True)
class MaskTraining:
    """How each variant is trained.

    Attributes:
        steps: optimizer steps.
        batch: crops a step.
        crop: side of the square crops, a multiple of 16.
        learning_rate: peak of it: a linear warm-up over a tenth of the steps, a cosine to 0.
        bf16: forward passes in bfloat16 autocast.
        device: where the network is, as PyTorch names it.
    """

    steps: int
    batch: int
    crop: int
    learning_rate: float = 1.5e-3
    bf16: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.crop < STRIDE or self.crop % STRIDE:
            raise ValueError(f"crops of {self.crop} pixels: expected a multiple of {STRIDE}")


def train_variant(
    build: Builder,
    labels: Sequence[np.ndarray],
    weights: Tensor,
    label_set: LabelSet,
    training: MaskTraining,
    seed: int,
    step_done: Callable[[int], None] = lambda done: None,
) -> StudiedAutoencoder:
    """Train on random crops of `labels` (uint8 [H, W], 255 for void); in evaluation mode after.

    The crops follow from seed and step alone, so that all variants see the same.

    Args:
        weights: of the classes in the loss.

    Raises:
        StudyError: the loss is no number.
    """
    torch.manual_seed(seed)
    device = torch.device(training.device)
    model = build(label_set).train().to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = weights.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _rate_factor(step, training.steps)
    )
    generator = torch.Generator().manual_seed(seed)
    for step in range(training.steps):
        batch = _crops(labels, training, np.random.default_rng([seed, step])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=training.bf16):
            loss = model.loss(batch, weights, generator)
        if not math.isfinite(loss.item()):
            raise StudyError(f"the loss is {loss.item()} at step {step} with seed {seed}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        schedule.step()
        step_done(step + 1)
    return model.eval()


@torch.no_grad()
def score_variant(
    model: StudiedAutoencoder, labels: Sequence[np.ndarray], label_set: LabelSet
) -> dict[str, Any]:
    """Scores of the reconstruction of held-out labels, their sides cut to multiples of 16.

    Args:
        labels: uint8 [H, W] each, class ids or 255 for void, at least 16 x 16.

    Returns:
        JSON values: `miou`, `boundary_iou`, `thin_iou` (mean over the thin classes that the label
        set has), `pixel_accuracy`, `per_class_iou`; of quantised latents also `codes_used`, the
        share of the codebook, and `perplexity`, else null.
    """
    accumulator = ScoreAccumulator(len(label_set.classes), boundary=True)
    device = next(model.parameters()).device
    usage = torch.zeros(model.codebook_size or 0, dtype=torch.int64)
    for label in labels:
        height, width = (side - side % STRIDE for side in label.shape)
        truth = np.ascontiguousarray(label[:height, :width])
        result = model.reconstruct(torch.from_numpy(truth)[None].long().to(device))
        predicted = result.labels[0].to(torch.uint8).cpu().numpy()
        accumulator.add(truth, predicted)
        if result.codes is not None:
            usage += torch.bincount(result.codes.flatten().cpu(), minlength=len(usage))
    scores = accumulator.report(label_set.classes)
    per_class = scores["per_class_iou"]
    thin = [value for name in THIN_CLASSES if (value := per_class.get(name)) is not None]
    quantized = len(usage) > 0
    return {
        "miou": scores["miou"],
        "boundary_iou": scores["boundary_iou"],
        "thin_iou": float(np.mean(thin)) if thin else None,
        "pixel_accuracy": scores["pixel_accuracy"],
        "per_class_iou": per_class,
        "codes_used": float((usage > 0).float().mean()) if quantized else None,
        "perplexity": perplexity(usage) if quantized else None,
    }


def _rate_factor(step: int, steps: int) -> float:
    return min((step + 1) / max(1.0, 0.1 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))


def _crops(
    labels: Sequence[np.ndarray], training: MaskTraining, rng: np.random.Generator
) -> Tensor:
    options = AugmentationOptions(size=(training.crop, training.crop))
    chosen = (labels[int(index)] for index in rng.integers(len(labels), size=training.batch))
    views = [random_view(label.shape, options, rng).of_label(label) for label in chosen]
    return torch.from_numpy(np.stack(views)).long()
