"""A small CamSeg with random weights for the CamVid classes: quick, of no use but for tests."""

from pathlib import Path

import torch

from camss_ros.data.label_sets import load_label_set
from camss_ros.model.autoencoder import MaskAutoencoderConfig
from camss_ros.model.camseg import (
    CamSeg,
    CamSegConfig,
    DenoiserConfig,
    TokenizerConfig,
    TransformerConfig,
)


def save_small_model(directory: Path) -> Path:
    """Write the model to `directory` and return it."""
    torch.manual_seed(0)
    config = CamSegConfig(
        name="small",
        label_set=load_label_set("camvid11").classes,
        input_size=(64, 96),
        tokenizer=TokenizerConfig(16),
        mask_autoencoder=MaskAutoencoderConfig(4, (8, 8, 8), (1, 1, 1)),
        transformer=TransformerConfig(32, 1, 2),
        denoiser=DenoiserConfig(32, 1),
    )
    CamSeg(config).save_pretrained(directory)
    return directory
