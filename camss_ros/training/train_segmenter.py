"""Train the segmenter: image tokens, transformer and denoiser over a mask autoencoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from camss_ros.images.image_files import DataError
from camss_ros.model.autoencoder import MaskAutoencoder
from camss_ros.model.camseg import CamSeg
from camss_ros.model.schedule import TRAIN_STEPS
from camss_ros.training.config import SegmenterConfig
from camss_ros.training.decoded_loss import DecodedLoss
from camss_ros.training.drift import write_drift
from camss_ros.training.label_codes import LabelCodes, class_weights
from camss_ros.training.loop import make_accelerator, train
from camss_ros.training.samples import TrainingSamples, validation_scores, window_in_tokens
from camss_ros.training.segmenter_losses import segmenter_losses
from camss_ros.training.sources import TrainingData, open_training_data
from camss_ros.training.start import (
    AUTOENCODER,
    BackboneTraining,
    check_sources,
    checkpoint_blocks,
    start_model,
    with_classes,
)

_DECODER = AUTOENCODER + "decoder"


def train_segmenter(config: SegmenterConfig, output: Path) -> CamSeg:
    """Train on labelled images and write `output`; return the averaged model.

    Raises:
        DataError, LabelSetError, TrainingError: see `loop.train`.
        ModelError: weights to start from can't be read or do not fit.
    """
    accelerator = make_accelerator(config.loop)
    check_sources(config)  # before the frames are read
    data = open_training_data(config.data, candidates=True)
    config = dataclasses.replace(config, model=with_classes(config.model, data.classes))
    model = start_model(config)
    samples = TrainingSamples(config, data, SampleDraws(config, model))
    training = SegmenterTraining(model, config, data)
    average = train(training, samples, output, accelerator)
    if accelerator.is_main_process:
        write_drift((output / "last", output / "best"), data)
    return average


class SampleDraws:
    """Draws what is random in samples beside their images: mask, timesteps and noise."""

    def __init__(self, config: SegmenterConfig, model: CamSeg) -> None:
        height, width = window_in_tokens(config.augmentation.size, model.stride)
        self._tokens = height * width
        self._channels = model.latent_channels
        self._masking, self._losses = config.masking, config.losses

    def __call__(self, samples: int, generator: torch.Generator) -> dict[str, Tensor]:
        where: dict[str, Any] = {"generator": generator, "device": generator.device}
        shape = (samples, self._losses.diffusion_batch_multiplier, self._tokens)
        draws = {
            "known": self._masking.known(samples, self._tokens, generator),
            "timesteps": torch.randint(TRAIN_STEPS, shape, **where),
            "noise": torch.randn(*shape, self._channels, **where),
        }
        if self._losses.auxiliary_weight > 0:
            low, high = self._losses.start // 10, self._losses.start
            draws["start_noise"] = torch.randn(samples, self._tokens, self._channels, **where)
            draws["second_timestep"] = torch.randint(low, high, (samples,), **where)
            # from anywhere on, so that small batches have all kinds, too
            first = torch.randint(4, (1,), **where)
            draws["start_kind"] = (torch.arange(samples, device=generator.device) + first) % 4
        return draws


class SegmenterTraining(BackboneTraining[CamSeg]):
    """All of the model but its mask encoder, with the losses of `segmenter_losses`."""

    def __init__(self, model: CamSeg, config: SegmenterConfig, data: TrainingData) -> None:
        model.requires_grad_(True)
        model.mask_autoencoder.requires_grad_(False)
        if config.decoder_rate > 0:
            if not isinstance(model.mask_autoencoder, MaskAutoencoder):
                raise DataError("decoder_rate must be 0: the official autoencoder stays frozen")
            # only the auxiliary loss has a gradient for it, which DDP waits for
            model.get_submodule(_DECODER).requires_grad_(config.losses.auxiliary_weight > 0)
        super().__init__(model, config.frozen_stages, config.backbone_rate)
        self._config, self._validation = config, data.validation
        codes, losses = data.codes, config.losses
        void_is_class = model.config.void_color is not None
        if void_is_class:
            if codes.candidates:
                raise DataError("void is a class of this model: no label may stand for several")
            codes = LabelCodes(codes.classes + 1)
        weights = torch.ones(len(codes))
        if losses.auxiliary_weight > 0 and losses.class_weight_power > 0:
            shares = data.code_shares(codes, void_is_class)
            weights = class_weights(shares, codes, losses.class_weight_power)
        self.decoded_loss = DecodedLoss(codes, weights, losses.jaccard_weight)

    def prepare_backward(self, device: torch.device) -> None:
        super().prepare_backward(device)
        if self._config.gradient_checkpointing:
            checkpoint_blocks(self.model)

    def train(self, mode: bool = True) -> SegmenterTraining:
        super().train(mode)
        self.model.mask_autoencoder.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return segmenter_losses(self.model, batch, self.decoded_loss, self._config.losses)

    def validate(self, average: CamSeg, accelerator: Accelerator) -> dict[str, float]:
        plan = average.plan(self._config.validation)
        generator = torch.Generator(accelerator.device)

        def segment(images: Tensor, _: Tensor) -> Tensor:
            generator.manual_seed(self._config.loop.seed)
            with accelerator.autocast():
                return average.generate(images, plan, generator).argmax(dim=1)

        return validation_scores(self._validation, segment, accelerator, average.config.input_size)

    def is_external(self, name: str) -> bool:
        return name.startswith(AUTOENCODER)

    def rate_of(self, name: str) -> float:
        if name.startswith(_DECODER):
            return self._config.decoder_rate
        return super().rate_of(name)
