"""Train the discriminative twin on the samples that the segmenter is trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError, find_model
from camss_ros.model.twin import Twin
from camss_ros.training.backward import depthwise_in_float32
from camss_ros.training.config import TwinTrainingConfig
from camss_ros.training.imagenet import load_imagenet
from camss_ros.training.loop import Training, make_accelerator, train
from camss_ros.training.samples import (
    Pairs,
    TrainingSamples,
    class_weights,
    open_pairs,
    synthetic_scenes,
    validation_scores,
)
from camss_ros.training.segmenter_losses import decoded_loss
from camss_ros.training.start import freeze_stages, with_classes

_READS_LATENTS = ("transformer.mask_embed.", "decoder.decoder.stem.", "decoder.latent_")


def train_twin(config: TwinTrainingConfig, output: Path) -> Twin:
    """Train on labelled images and write `output`; return the averaged model.

    Raises:
        DataError, LabelSetError, TrainingError: see `loop.train`.
        ModelError: the ImageNet weights are not installed, or those to start from can't be read
            or do not fit.
    """
    accelerator = make_accelerator(config.loop)
    if config.start_from is not None:
        find_model(config.start_from)  # before the frames are read
    pairs, validation, classes = open_pairs(config.data)
    config = dataclasses.replace(config, model=with_classes(config.model, classes))
    model = start_twin(config)
    synthetic = synthetic_scenes(config.data, classes, pairs[0][1].shape)  # type: ignore[arg-type]
    samples = TrainingSamples(
        pairs, config.data, classes, synthetic, config.augmentation,
        config.loop.batch, config.loop.seed, lambda index, step, sample: {},
    )  # fmt: skip
    training = TwinTraining(model, config, pairs, validation)
    average = train(training, samples, output, config.loop, accelerator, config.data.workers)
    assert isinstance(average, Twin)
    return average


def start_twin(config: TwinTrainingConfig) -> Twin:
    """Build the twin with the weights that `config` names. Raises ModelError as `train_twin`."""
    torch.manual_seed(config.loop.seed)
    model = Twin(config.model)
    if config.start_from is not None:
        _load_segmenter(model, config.start_from)
    elif config.imagenet_backbone:
        try:
            load_imagenet(model)
        except RuntimeError as error:
            raise ModelError(str(error)) from error
    return model


def _load_segmenter(model: Twin, source: str) -> None:
    own = model.state_dict()
    state = {}
    for name, value in CamSeg.from_pretrained(source).state_dict().items():
        name = name.replace("mask_autoencoder.", "decoder.", 1)
        if name.startswith(_READS_LATENTS) or name not in own:
            continue
        if value.shape != own[name].shape:
            raise ModelError(
                f"{name} is {list(value.shape)} in {source}, {list(own[name].shape)} in the twin: "
                "compare `model`"
            )
        state[name] = value
    model.load_state_dict(state, strict=False)


class TwinTraining(Training):
    """The loss by which the segmenter judges the class map that its latents decode to."""

    def __init__(
        self, model: Twin, config: TwinTrainingConfig, pairs: Pairs, validation: Pairs
    ) -> None:
        super().__init__()
        self._config, self._validation = config, validation
        freeze_stages(model.tokenizer, config.frozen_stages)
        self.model: Twin = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights: Tensor
        classes = len(model.config.label_set)
        weights = class_weights(pairs, classes, config.class_weight_power)
        self.register_buffer("weights", weights)

    def prepare_backward(self, device: torch.device) -> None:
        """Change how `model` computes while training."""
        if device.type == "cpu":
            depthwise_in_float32(self.model)

    def train(self, mode: bool = True) -> TwinTraining:
        """Training mode, but for the statistics of ImageNet, as the segmenter is trained."""
        super().train(mode)
        self.model.tokenizer.backbone.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = self.model.logits(batch["images"]).float()
        labels = batch["labels"].long()
        return {"loss": decoded_loss(logits, labels, self.weights, self._config.jaccard_weight)}

    def validate(self, average: nn.Module, accelerator: Accelerator) -> dict[str, float]:
        assert isinstance(average, Twin)

        def segment(images: Tensor, _: Tensor) -> Tensor:
            with accelerator.autocast():
                return average.logits(images).argmax(dim=1)

        config = average.config
        classes, size = len(config.label_set), config.input_size
        return validation_scores(self._validation, classes, segment, accelerator, size)

    def write(self, average: nn.Module, directory: Path) -> None:
        assert isinstance(average, Twin)
        average.save_pretrained(directory, torch.float16)

    def rate_of(self, name: str) -> float:
        return self._config.backbone_rate if name.startswith("tokenizer.backbone") else 1.0
