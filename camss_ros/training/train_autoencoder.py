"""Train the mask autoencoder on label images."""

import copy
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional
from torch.utils.data import ConcatDataset

from camss_ros.images.label_class import VOID
from camss_ros.model.autoencoder import MaskAutoencoder
from camss_ros.model.checkpoint import (
    check_shapes,
    find_model,
    load_pretrained,
    save_pretrained,
    shapes_of,
)
from camss_ros.training.config import AutoencoderConfig
from camss_ros.training.global_batch import global_sum
from camss_ros.training.label_codes import class_weights
from camss_ros.training.loop import Training, make_accelerator, train
from camss_ros.training.run_folder import save_checkpoint
from camss_ros.training.samples import TrainingSamples, validation_scores, window_in_tokens
from camss_ros.training.sources import (
    Pairs,
    TrainingData,
    open_training_data,
    resize_pair,
    whole_tokens,
)

AUTOENCODER_FILE = "autoencoder.pt"
# Frames, evenly spaced, that the statistics of the latents are measured on; at most twice as many.
_STATISTICS_FRAMES = 128
# Of the squared distance to the latents of before, in standard deviations, with a frozen decoder:
# without it they move by two of these within 300 steps, for no better reconstruction.
_DISTANCE_WEIGHT = 0.03


def train_autoencoder(config: AutoencoderConfig, output: Path) -> MaskAutoencoder:
    """Train on label images and write `output`; return the averaged autoencoder.

    Raises:
        DataError, LabelSetError, TrainingError: see `loop.train`.
        ModelError: the model to start from can't be read, or its autoencoder is another one.
    """
    accelerator = make_accelerator(config.loop)
    if config.start_from is not None:
        find_model(config.start_from)  # before the frames are read
    data = open_training_data(config.data)
    torch.manual_seed(config.loop.seed)
    model = MaskAutoencoder(len(data.classes), config.model)
    if config.start_from is not None:
        _start_from(model, config.start_from)
    window = window_in_tokens(config.augmentation.size, model.stride)
    shape = (config.model.latent_channels, *window)

    def draw(samples: int, generator: torch.Generator) -> dict[str, Tensor]:
        where: dict[str, Any] = {"generator": generator, "device": generator.device}
        shuffled = torch.rand(samples, len(data.classes), **where).argsort(dim=1)
        still = torch.rand(samples, 1, **where) >= config.shuffled_share
        unchanged = torch.arange(len(data.classes), device=generator.device)
        return {
            "noise": torch.randn(samples, *shape, **where),
            "classes": unchanged.where(still, shuffled),
        }

    samples = TrainingSamples(config, data, draw, images=False)
    training = AutoencoderTraining(model, config, data)
    return train(training, samples, output, accelerator)


def _start_from(model: MaskAutoencoder, source: str) -> None:
    state = load_pretrained(source).mask_autoencoder.state_dict()
    check_shapes(shapes_of(model.state_dict()), shapes_of(state), find_model(source))
    model.load_state_dict(state)


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
        self._before: MaskAutoencoder | None = None  # with a frozen decoder
        self._source = config.start_from
        if config.frozen_decoder:
            model.decoder.requires_grad_(False)
            self._before = copy.deepcopy(model).requires_grad_(False)
        self._data = data
        self.weights: Tensor
        weights = class_weights(data.code_shares(data.codes), data.codes)
        self.register_buffer("weights", weights)

    def train(self, mode: bool = True) -> "AutoencoderTraining":
        super().train(mode)
        if self._before is not None:
            self.model.decoder.eval()
            self._before.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        weights, labels = _shuffled(batch["labels"].long(), self.weights, batch["classes"])
        posterior = self.model.posterior(labels)
        logits = self.model.decode_raw(posterior.sample(batch["noise"])).float()
        error = functional.cross_entropy(logits, labels, ignore_index=VOID, reduction="none")
        divergence = posterior.kl()
        parts = [(error * weights).sum(), weights.sum(), divergence.sum()]
        parts.append(torch.full_like(parts[0], divergence.numel()))
        if self._before is not None:
            away = (posterior.mean - self._before.posterior(labels).mean) / self._before.latent_std
            parts.append(away.square().mean(dim=1).sum())
        sums = global_sum(torch.stack(parts))
        cross_entropy, kl = sums[0] / sums[1].clamp(min=1e-6), sums[2] / sums[3]
        losses = {"cross_entropy": cross_entropy, "kl": kl}
        loss = cross_entropy + self._kl_weight * kl
        if self._before is not None:
            losses["distance"] = sums[4] / sums[3]
            loss = loss + _DISTANCE_WEIGHT * losses["distance"]
        return {"loss": loss, **losses}

    def validate(self, average: MaskAutoencoder, accelerator: Accelerator) -> dict[str, float]:
        def reconstruct(_: Tensor, labels: Tensor) -> Tensor:
            return average.decode_raw(average.posterior(labels).mean).argmax(dim=1)

        return validation_scores(self._data.validation, reconstruct, accelerator)

    def write(self, average: MaskAutoencoder, directory: Path) -> None:
        if self._before is None:
            set_latent_statistics(average, self._data)
        else:  # the denoiser knows the latents, and the model the decoder
            network = load_pretrained(str(self._source))
            network.mask_autoencoder.load_state_dict(average.state_dict())
            save_pretrained(network, directory, torch.float16)
        save_checkpoint(average.state_dict(), directory / AUTOENCODER_FILE)


def _shuffled(labels: Tensor, weights: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Weight of each pixel, by its class, and the labels after `classes` [B, n] in their place."""
    labelled = labels != VOID
    ids = labels.where(labelled, 0)
    renamed = classes.gather(1, ids.flatten(1)).view_as(labels)
    return weights[ids] * labelled, renamed.where(labelled, VOID)


@torch.no_grad()
def set_latent_statistics(model: MaskAutoencoder, data: TrainingData) -> None:
    """Set mean and standard deviation of every latent channel from training labels."""
    latents = []
    frames: list[Any] = [source.pairs for source in data.sources]
    pairs: Pairs = ConcatDataset(frames)  # type: ignore[assignment]
    for index in range(0, len(pairs), max(1, len(pairs) // _STATISTICS_FRAMES)):
        image, label = pairs[index]
        _, label = resize_pair(image, label, whole_tokens(label.shape))
        labels = torch.from_numpy(label)[None].long().to(model.latent_mean.device)
        latents.append(model.posterior(labels).mean.flatten(2)[0])
    pooled = torch.cat(latents, dim=1)
    model.latent_mean.copy_(pooled.mean(dim=1).view_as(model.latent_mean))
    model.latent_std.copy_(pooled.std(dim=1).view_as(model.latent_std))
