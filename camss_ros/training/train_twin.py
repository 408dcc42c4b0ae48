"""Train the discriminative twin on the samples that the segmenter is trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from camss_ros.model.checkpoint import find_model, load_pretrained
from camss_ros.model.twin import Twin
from camss_ros.training.config import TwinTrainingConfig
from camss_ros.training.decoded_loss import DecodedLoss
from camss_ros.training.label_codes import class_weights
from camss_ros.training.loop import make_accelerator, train
from camss_ros.training.samples import TrainingSamples, validation_scores, window_in_tokens
from camss_ros.training.sources import TrainingData, open_training_data
from camss_ros.training.start import BackboneTraining, load_imagenet, load_weights, with_classes

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
    data = open_training_data(config.data, candidates=True)
    config = dataclasses.replace(config, model=with_classes(config.model, data.classes))
    window_in_tokens(config.augmentation.size, Twin.stride)  # or it is refused
    model = start_twin(config)
    samples = TrainingSamples(config, data, lambda count, generator: {})
    training = TwinTraining(model, config, data)
    return train(training, samples, output, accelerator)


def start_twin(config: TwinTrainingConfig) -> Twin:
    """Build the twin with the weights that `config` names. Raises ModelError as `train_twin`."""
    torch.manual_seed(config.loop.seed)
    model = Twin(config.model)
    if config.start_from is not None:
        _load_segmenter(model, config.start_from)
    elif config.imagenet_backbone:
        load_imagenet(model)
    return model


def _load_segmenter(model: Twin, source: str) -> None:
    own = model.state_dict().keys()
    earlier = load_pretrained(source).state_dict().items()
    state = {name.replace("mask_autoencoder.", "decoder.", 1): value for name, value in earlier}
    shared = [name for name in state if name in own and not name.startswith(_READS_LATENTS)]
    load_weights(model, {name: state[name] for name in shared}, source)


class TwinTraining(BackboneTraining[Twin]):
    """The loss by which the segmenter judges the class map that its latents decode to."""

    def __init__(self, model: Twin, config: TwinTrainingConfig, data: TrainingData) -> None:
        super().__init__(model, config.frozen_stages, config.backbone_rate)
        self._validation = data.validation
        shares = data.code_shares(data.codes)
        weights = class_weights(shares, data.codes, config.class_weight_power)
        self.decoded_loss = DecodedLoss(data.codes, weights, config.jaccard_weight)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = self.model.logits(batch["images"]).float()
        labels = batch["labels"].long()
        return {"loss": self.decoded_loss(logits, labels)}

    def validate(self, average: Twin, accelerator: Accelerator) -> dict[str, float]:
        def segment(images: Tensor, _: Tensor) -> Tensor:
            with accelerator.autocast():
                return average.logits(images).argmax(dim=1)

        return validation_scores(self._validation, segment, accelerator, average.config.input_size)
