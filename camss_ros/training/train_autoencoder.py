"""Train the mask autoencoder on label images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from camss_ros.data.augmentation import AugmentationOptions, augment
from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig
from camss_ros.model.label_class import VOID
from camss_ros.training.loop import LoopOptions, train
from camss_ros.training.samples import LabelledFrames, class_weights, validation_miou


@dataclass(frozen=True)
class AutoencoderTraining:
    """What `train_autoencoder` does beside the loop.

    Attributes:
        batch: crops a step.
        crop: their geometry; only the labels are read.
        kl_weight: of the KL divergence of one latent place against the mean cross-entropy.
        seed: of weights and crops.
    """

    batch: int = 16
    crop: AugmentationOptions = AugmentationOptions(size=(256, 256), recolour=0.0)
    kl_weight: float = 1e-4
    seed: int = 0


def train_autoencoder(
    frames: LabelledFrames,
    validation: LabelledFrames,
    output: Path,
    loop: LoopOptions,
    options: AutoencoderTraining = AutoencoderTraining(),
    config: MaskAutoencoderConfig = MaskAutoencoderConfig(),
) -> MaskAutoencoder:
    """Train on the labels of `frames`, write `output`, return the averaged autoencoder.

    The loss is the class-weighted cross-entropy of the decoded logits plus the KL divergence of
    the posterior (paper section 3.1 with a categorical in place of a colour likelihood).
    """
    torch.manual_seed(options.seed)
    model = MaskAutoencoder(frames.classes, config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = class_weights(frames)

    def losses(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([options.seed, step])
        noise_source = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        crops = [augment(*frames.draw(rng), options.crop, rng)[1] for _ in range(options.batch)]
        labels = torch.from_numpy(np.stack(crops)).long()
        posterior = model.posterior(labels)
        noise = torch.randn(posterior.mean.shape, generator=noise_source)
        logits = model.decode_raw(posterior.sample(noise)).float()
        cross_entropy = functional.cross_entropy(logits, labels, weights, ignore_index=VOID)
        kl = posterior.kl().mean()
        return {
            "loss": cross_entropy + options.kl_weight * kl,
            "cross_entropy": cross_entropy,
            "kl": kl,
        }

    def evaluate(average: nn.Module) -> dict[str, float]:
        assert isinstance(average, MaskAutoencoder)

        def reconstruct(_: Tensor, labels: Tensor) -> Tensor:
            return average.decode_raw(average.posterior(labels).mean).argmax(dim=1)

        return validation_miou(validation, reconstruct)

    model.train()
    average = train(model, losses, evaluate, output, loop)
    assert isinstance(average, MaskAutoencoder)
    set_latent_statistics(average, frames)
    torch.save(average.state_dict(), output / "autoencoder.pt")
    return average


@torch.no_grad()
def set_latent_statistics(model: MaskAutoencoder, frames: LabelledFrames) -> None:
    """Set mean and standard deviation of every latent channel from the labels of `frames`."""
    latents = [
        model.posterior(torch.from_numpy(label)[None].long()).mean
        for _, label in frames.multiple_of_16()
    ]
    pooled = torch.cat(latents).transpose(0, 1).flatten(1)
    model.latent_mean.copy_(pooled.mean(dim=1).view_as(model.latent_mean))
    model.latent_std.copy_(pooled.std(dim=1).view_as(model.latent_std))
