"""Train the discriminative twin on the crops that the segmenter is trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from camss_ros.data.augmentation import AugmentationOptions, augment
from camss_ros.model.twin import Twin
from camss_ros.training.loop import LoopOptions, train
from camss_ros.training.samples import LabelledFrames, class_weights, validation_miou
from camss_ros.training.segmenter_losses import decoded_loss


@dataclass(frozen=True)
class TwinTraining:
    """What `train_twin` does beside the loop; defaults as in `SegmenterTraining`.

    Attributes:
        batch: crops a step.
        crop: geometry and photometry of the crops.
        jaccard_weight: of one minus the soft Jaccard index, beside the class-weighted
            cross-entropy of 1.
        backbone_rate: factor on the learning rate of the pretrained backbone.
        seed: of crops.
    """

    batch: int = 8
    crop: AugmentationOptions = AugmentationOptions()
    jaccard_weight: float = 0.0
    backbone_rate: float = 0.5
    seed: int = 0


def train_twin(
    model: Twin,
    frames: LabelledFrames,
    validation: LabelledFrames,
    output: Path,
    loop: LoopOptions,
    options: TwinTraining = TwinTraining(),
) -> Twin:
    """Train all of `model`, write it to `output`, return the averaged model.

    The loss is the one by which the segmenter judges the class map that its latents decode to.
    """
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = class_weights(frames)

    def losses(step: int) -> dict[str, Tensor]:
        model.train()
        model.tokenizer.backbone.eval()  # keeps the statistics of ImageNet, as the segmenter does
        rng = np.random.default_rng([options.seed, step])
        crops = [augment(*frames.draw(rng), options.crop, rng) for _ in range(options.batch)]
        images = torch.from_numpy(np.stack([image for image, _ in crops])).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.stack([label for _, label in crops])).long()
        logits = model.logits(images).float()
        return {"loss": decoded_loss(logits, labels, weights, options.jaccard_weight)}

    def evaluate(average: nn.Module) -> dict[str, float]:
        assert isinstance(average, Twin)

        @torch.no_grad()
        def segment(images: Tensor, _: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=loop.bf16):
                return average.logits(images.permute(0, 3, 1, 2)).argmax(dim=1)

        return validation_miou(validation, segment)

    def rate_of(name: str) -> float:
        return options.backbone_rate if name.startswith("tokenizer.backbone") else 1.0

    average = train(model, losses, evaluate, output, loop, rate_of)
    assert isinstance(average, Twin)
    average.save_pretrained(output, torch.float16)
    return average
