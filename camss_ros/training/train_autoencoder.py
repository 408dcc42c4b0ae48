"""Train the mask autoencoder on label images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional
from torch.utils.data import ConcatDataset

from camss_ros.images.label_class import VOID
from camss_ros.model.autoencoder import MaskAutoencoder
from camss_ros.training.config import AutoencoderConfig
from camss_ros.training.global_batch import global_sum
from camss_ros.training.label_codes import class_weights
from camss_ros.training.loop import Training, make_accelerator, train
from camss_ros.training.samples import TrainingSamples, validation_scores
from camss_ros.training.sources import Pairs, TrainingData, open_training_data, resize_pair

AUTOENCODER_FILE = "autoencoder.pt"
# Frames, evenly spaced, that the statistics of the latents are measured on at most.
_STATISTICS_FRAMES = 128


def train_autoencoder(config: AutoencoderConfig, output: Path) -> MaskAutoencoder:
    """Train on label images and write `output`; return the averaged autoencoder.

    Raises:
        DataError, LabelSetError, TrainingError: see `loop.train`.
    """
    accelerator = make_accelerator(config.loop)
    data = open_training_data(config.data)
    torch.manual_seed(config.loop.seed)
    model = MaskAutoencoder(len(data.classes), config.model)
    height, width = config.augmentation.size
    shape = (config.model.latent_channels, height // model.stride, width // model.stride)

    def draw(index: int, step: np.random.Generator, sample: np.random.Generator) -> dict[str, Any]:
        return {"noise": sample.standard_normal(shape, np.float32)}

    samples = TrainingSamples.of(config, data, draw)
    training = AutoencoderTraining(model, config, data)
    return train(training, samples, output, config.loop, accelerator, config.data.workers)


class AutoencoderTraining(Training[MaskAutoencoder]):
    """Class-weighted cross-entropy of the decoded logits plus the KL divergence of the posterior.

    Paper section 3.1, with a categorical in place of a colour likelihood.
    """

    def __init__(
        self, model: MaskAutoencoder, config: AutoencoderConfig, data: TrainingData
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._kl_weight = config.kl_weight
        self._data = data
        self.weights: Tensor
        weights = class_weights(data.code_shares(data.codes), data.codes)
        self.register_buffer("weights", weights)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        labels = batch["labels"].long()
        posterior = self.model.posterior(labels)
        logits = self.model.decode_raw(posterior.sample(batch["noise"])).float()
        error = functional.cross_entropy(
            logits, labels, self.weights, ignore_index=VOID, reduction="sum"
        )
        divergence = posterior.kl()
        places = torch.full_like(error, divergence.numel())
        weight = pixel_weight(labels, self.weights)
        sums = global_sum(torch.stack([error, weight, divergence.sum(), places]))
        cross_entropy, kl = sums[0] / sums[1].clamp(min=1e-6), sums[2] / sums[3]
        loss = cross_entropy + self._kl_weight * kl
        return {"loss": loss, "cross_entropy": cross_entropy, "kl": kl}

    def validate(self, average: MaskAutoencoder, accelerator: Accelerator) -> dict[str, float]:
        def reconstruct(_: Tensor, labels: Tensor) -> Tensor:
            return average.decode_raw(average.posterior(labels).mean).argmax(dim=1)

        return validation_scores(self._data.validation, reconstruct, accelerator)

    def write(self, average: MaskAutoencoder, directory: Path) -> None:
        set_latent_statistics(average, self._data)
        torch.save(average.state_dict(), directory / AUTOENCODER_FILE)


def pixel_weight(labels: Tensor, weights: Tensor) -> Tensor:
    """Sum of the class weights of the labelled pixels: what a weighted cross-entropy divides by."""
    labelled = labels != VOID
    return (weights[labels.where(labelled, 0)] * labelled).sum()


@torch.no_grad()
def set_latent_statistics(model: MaskAutoencoder, data: TrainingData) -> None:
    """Set mean and standard deviation of every latent channel from training labels."""
    latents = []
    frames: list[Any] = [source.pairs for source in data.sources]
    pairs: Pairs = ConcatDataset(frames)  # type: ignore[assignment]
    for index in range(0, len(pairs), max(1, len(pairs) // _STATISTICS_FRAMES)):
        image, label = pairs[index]
        _, label = resize_pair(
            image, label, (16 * (label.shape[0] // 16), 16 * (label.shape[1] // 16))
        )
        labels = torch.from_numpy(label)[None].long().to(model.latent_mean.device)
        latents.append(model.posterior(labels).mean.flatten(2)[0])
    pooled = torch.cat(latents, dim=1)
    model.latent_mean.copy_(pooled.mean(dim=1).view_as(model.latent_mean))
    model.latent_std.copy_(pooled.std(dim=1).view_as(model.latent_std))
