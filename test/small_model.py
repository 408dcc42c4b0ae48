"""A small CamSeg with random weights: quick to run, of no use but for tests."""

from pathlib import Path
from typing import Any

import torch

from camss_ros.images.label_class import LabelClass
from camss_ros.model.autoencoder import MaskAutoencoderConfig
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import save_pretrained
from camss_ros.model.config import (
    CamSegConfig,
    ConcatTransformerConfig,
    DenoiserConfig,
    TokenizerConfig,
    TransformerConfig,
)
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig
from camss_ros.model.official import base_config


def small_official_config(**changes: Any) -> CamSegConfig:
    """The official architecture at a small size."""
    return base_config(
        **{
            "mask_autoencoder": ImageAutoencoderConfig(4, 32, (1, 1), 1, ()),
            "transformer": ConcatTransformerConfig(32, 1, 2, 2),
            "denoiser": DenoiserConfig(32, 1),
            "input_size": (16, 16),
            **changes,
        }
    )


def save_small_official_model(directory: Path) -> Path:
    """Write a model of that architecture with random weights to `directory` and return it."""
    torch.manual_seed(0)
    save_pretrained(CamSeg(small_official_config()), directory)
    return directory


def save_small_model(
    directory: Path,
    classes: int = 11,
    seed: int = 0,
    label_set: tuple[LabelClass, ...] | None = None,
) -> Path:
    """Write the model to `directory` and return it. Without a label set its classes are made up."""
    torch.manual_seed(seed)
    config = CamSegConfig(
        name="small",
        label_set=label_set
        or tuple(
            LabelClass(i, f"class{i}", (20 * i % 256, 255 - 20 * i % 256, 128))
            for i in range(classes)
        ),
        input_size=(64, 96),
        tokenizer=TokenizerConfig(16),
        mask_autoencoder=MaskAutoencoderConfig(4, (8, 8, 8), (1, 1, 1)),
        transformer=TransformerConfig(32, 1, 2),
        denoiser=DenoiserConfig(32, 1),
    )
    save_pretrained(CamSeg(config), directory)
    return directory
