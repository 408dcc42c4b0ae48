"""Models with random weights: as fast as trained ones of their size, and of no other use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError, find_config, save_pretrained
from camss_ros.model.config import CamSegConfig
from camss_ros.model.fast_decoder import FastDecoderConfig
from camss_ros.model.official import base_config

_OFFICIAL = "cam-seg-base"


def random_config(model: str, size: tuple[int, int] | None) -> CamSegConfig:
    """Configuration of `cam-seg-base`, which need not be there, or of a model that is.

    Args:
        size: working (height, width); None for the model's own.

    Raises:
        ModelError: no such model, or it is a discriminative twin.
        ValueError: a size that is no multiple of the stride.
    """
    config = base_config() if model == _OFFICIAL else find_config(model)
    if not isinstance(config, CamSegConfig):
        raise ModelError(f"{model} is a discriminative twin, not a CamSeg model")
    return replace(config, input_size=size or config.input_size)


@contextmanager
def random_weights(
    model: str, size: tuple[int, int] | None, fast_decoder: bool = False
) -> Iterator[Path]:
    """A directory with the model of `random_config`, removed at the end; always the same weights.

    Args:
        fast_decoder: add one of the default size.

    Raises as `random_config`.
    """
    config = random_config(model, size)
    if fast_decoder:
        config = replace(
            config, name=f"{config.name} with a fast decoder", fast_decoder=FastDecoderConfig()
        )
    with TemporaryDirectory(prefix="camss_ros-") as directory, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CamSeg(config)
        for parameter in network.denoiser.parameters():
            # it starts with zeros, with which sampling would do nothing
            nn.init.normal_(parameter, std=0.02)
        save_pretrained(network, directory)
        del network
        yield Path(directory)
