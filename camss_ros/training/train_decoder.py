"""Train a fast mask decoder to do what the KL decoder of a model does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError, load_pretrained, save_pretrained
from camss_ros.model.fast_decoder import FastDecoder
from camss_ros.model.image_autoencoder import PaletteAutoencoder
from camss_ros.training.config import DecoderTrainingConfig
from camss_ros.training.global_batch import global_sum
from camss_ros.training.loop import Training, make_accelerator, train
from camss_ros.training.samples import TrainingSamples, validation_scores, window_in_tokens
from camss_ros.training.sources import TrainingData, open_training_data
from camss_ros.training.start import with_classes


def train_decoder(config: DecoderTrainingConfig, output: Path) -> CamSeg:
    """Train on label images and write `output`; return the model with the averaged decoder.

    Raises:
        DataError, LabelSetError, TrainingError: see `loop.train`.
        ModelError: the model can't be read, or needs no fast decoder.
    """
    accelerator = make_accelerator(config.loop)
    network = load_pretrained(config.start_from)
    _teacher(network)  # before the frames are read
    data = open_training_data(config.data)
    with_classes(network.config, data.classes)
    window = window_in_tokens(config.augmentation.size, network.stride)
    shape = (network.latent_channels, *window)

    def draw(samples: int, generator: torch.Generator) -> dict[str, Tensor]:
        where: dict[str, Any] = {"generator": generator, "device": generator.device}
        deviation = config.noise * torch.rand(samples, 1, 1, 1, **where)
        return {"noise": deviation * torch.randn(samples, *shape, **where)}

    samples = TrainingSamples(config, data, draw, images=False)
    training = DecoderTraining(network, config, data)
    average = train(training, samples, output, accelerator)
    return with_fast_decoder(network, average)


def _teacher(network: CamSeg) -> PaletteAutoencoder:
    if not isinstance(network.mask_autoencoder, PaletteAutoencoder):
        raise ModelError(
            f"start_from: the decoder of {network.config.name} gives class logits already; "
            "only a model with the KL autoencoder of colour images gains by a fast one"
        )
    return network.mask_autoencoder


def with_fast_decoder(network: CamSeg, decoder: FastDecoder) -> CamSeg:
    """The network with this decoder in place of its own, on the CPU."""
    with torch.device("meta"):
        complete = CamSeg(dataclasses.replace(network.config, fast_decoder=decoder.config))
    own = network.state_dict().items()
    state = {name: value.cpu() for name, value in own if not name.startswith("fast_decoder.")}
    state |= {f"fast_decoder.{name}": value.cpu() for name, value in decoder.state_dict().items()}
    complete.load_state_dict(state, assign=True)
    return complete.eval().requires_grad_(False)


class DecoderTraining(Training[FastDecoder]):
    """Cross-entropy of the class probabilities that the KL decoder gives the same latents.

    The latents are those of label images, more or less noisy.

    Args:
        network: whose KL decoder is learned from.
        config: of the training.
        data: with the frames to validate on, whose labels are encoded, decoded and compared.

    Raises:
        ModelError: the network decodes without colours, which is fast already.
    """

    def __init__(self, network: CamSeg, config: DecoderTrainingConfig, data: TrainingData) -> None:
        super().__init__()
        autoencoder = _teacher(network)
        torch.manual_seed(config.loop.seed)
        decoder = FastDecoder(
            config.decoder, network.latent_channels, len(autoencoder.colors), network.stride
        )
        self.model = decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = autoencoder.requires_grad_(False).eval()
        self._network = (network,)  # a tuple: no part of the module
        self._validation = data.validation

    def train(self, mode: bool = True) -> DecoderTraining:
        """Training mode, but for the teacher."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        labels = batch["labels"].long()
        with torch.no_grad(), torch.autocast(labels.device.type, enabled=False):
            latents = self.teacher.encode(labels) + batch["noise"]
            wanted = self.teacher.decode(latents).softmax(dim=1)
        logits = self.model(latents).float()
        error = -(wanted * logits.log_softmax(dim=1)).sum(dim=1)
        agreeing = (logits.argmax(dim=1) == wanted.argmax(dim=1)).float()
        parts = [error.sum(), agreeing.sum(), torch.ones_like(error).sum()]
        sums = global_sum(torch.stack(parts))
        return {"loss": sums[0] / sums[2], "agreement": sums[1] / sums[2]}

    def validate(self, average: FastDecoder, accelerator: Accelerator) -> dict[str, float]:
        """IoU with the labels, and the share of pixels whose class is the KL decoder's."""
        config = self._network[0].config
        counts = torch.zeros(2, device=accelerator.device)

        def reconstruct(_: Tensor, labels: Tensor) -> Tensor:
            latents = self.teacher.encode(labels)
            wanted = self.teacher.decode(latents).argmax(dim=1)
            classes = average(latents).argmax(dim=1)
            counts.add_(torch.stack([(classes == wanted).sum(), torch.ones_like(wanted).sum()]))
            return classes

        scores = validation_scores(self._validation, reconstruct, accelerator, config.input_size)
        agreeing, pixels = accelerator.reduce(counts, "sum").tolist()
        return {**scores, "agreement": agreeing / pixels}

    def write(self, average: FastDecoder, directory: Path) -> None:
        save_pretrained(with_fast_decoder(self._network[0], average), directory)
