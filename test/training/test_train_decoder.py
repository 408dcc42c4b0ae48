"""The fast mask decoder: distilled from a KL decoder that is trained here for some steps."""

import dataclasses

import numpy as np
import pytest
import torch
from training_run import CONFIGS, SHORT
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import load_pretrained, save_pretrained
from camss_ros.model.config import (
    CamSegConfig,
    ConcatTransformerConfig,
    DenoiserConfig,
    TokenizerConfig,
)
from camss_ros.model.fast_decoder import FastDecoder, FastDecoderConfig
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig
from camss_ros.training.run_folder import read_metrics

SIZE = (32, 48)
CONFIG = CamSegConfig(
    name="small",
    label_set=load_label_set("camvid11").classes,
    void_color=(0, 0, 0),
    input_size=SIZE,
    tokenizer=None,
    mask_autoencoder=ImageAutoencoderConfig(8, 32, (1, 1, 1), 1, (), latent_scale=0.5),
    transformer=ConcatTransformerConfig(32, 1, 1, 2, 2.0),
    denoiser=DenoiserConfig(32, 1),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose KL autoencoder has learned to paint stripes of three classes."""
    torch.manual_seed(0)
    network = CamSeg(CONFIG)
    autoencoder = network.mask_autoencoder.train()
    optimizer = torch.optim.Adam(autoencoder.parameters(), 1e-3)
    random = np.random.default_rng(0)
    for _ in range(40):
        rows = torch.from_numpy(random.choice([0, 5, 10], (4, 4)))
        labels = rows.repeat_interleave(8, dim=1)[:, :, None].expand(-1, -1, 16)
        painted = autoencoder.paint(labels)
        loss = (autoencoder.images.decode(autoencoder.encode(labels)) - painted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    directory = tmp_path_factory.mktemp("model")
    save_pretrained(network, directory)
    return directory


def run(root, model, output, *overrides):
    entries = (
        *SHORT, "data={sources: [{name: camvid}]}", "augmentation={size: [32,48], recolour: 0.0}",
        "decoder={widths: [32], depths: [1]}", f"start_from={model}", *overrides,
    )  # fmt: skip
    arguments = ["train", "decoder", "--config", str(CONFIGS / "cam_seg_base_decoder.yaml")]
    arguments += ["--root", str(root), "--output", str(output)]
    return CliRunner().invoke(app, arguments + [x for entry in entries for x in ("--set", entry)])


def test_it_comes_to_agree_with_the_kl_decoder(root, model, tmp_path):
    steps = ("loop.steps=60", "loop.batch=2", "loop.learning_rate=3e-3", "loop.ema_decay=0.9")
    result = run(root, model, tmp_path, *steps, "loop.save_every=60")
    assert result.exit_code == 0, result.output
    rows = read_metrics(tmp_path / "metrics.csv")
    before, after = (np.mean([row["agreement"] for row in part]) for part in (rows[:3], rows[-3:]))
    assert after > before + 0.2
    assert read_metrics(tmp_path / "validation.csv")[-1]["agreement"] > 0.7
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]

    # the written model is the one that it started from, decoded by the new decoder
    teacher, fast = load_pretrained(model), load_pretrained(tmp_path / "last")
    assert fast.config.fast_decoder == FastDecoderConfig((32,), (1,))
    assert dataclasses.replace(fast.config, fast_decoder=None) == teacher.config
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, fast.state_dict()[name])
    labels = torch.tensor([0, 10, 5, 0]).repeat_interleave(8)[None, :, None].expand(1, -1, 48)
    latents = teacher.mask_autoencoder.encode(labels)
    assert not torch.equal(teacher.decode(latents), fast.decode(latents))
    segmenter = Segmenter(tmp_path / "last", device="cpu")
    assert segmenter.segment(np.zeros((50, 70, 3), np.uint8)).labels.shape == (50, 70)


def test_what_does_not_fit_is_named(root, model, tmp_path):
    result = run(root, model, tmp_path / "o", "loop.steps=1", "augmentation.size=[30,48]")
    assert result.exit_code == 1
    assert "multiples of 4" in result.output
    result = run(root, "camss-tiny", tmp_path / "o", "loop.steps=1", "loop.batch=1")
    assert result.exit_code == 1
    assert "camss-tiny" in result.output
    result = run(root, model, tmp_path / "o", "decoder={widths: [8, 8], depths: [1]}")
    assert result.exit_code == 1
    assert "one entry for each level" in result.output


def test_the_default_size():
    decoder = FastDecoder(FastDecoderConfig(), 16, 20, 16).eval()
    count = sum(parameter.numel() for parameter in decoder.parameters())
    assert 0.9e6 < count < 1.2e6
    assert decoder(torch.zeros(2, 16, 3, 4)).shape == (2, 20, 48, 64)
    half = decoder.to(torch.bfloat16)
    assert half(torch.zeros(1, 16, 1, 1)).dtype == torch.float32


def test_only_a_colour_autoencoder_takes_one():
    labels_only = CamSegConfig("x", CONFIG.label_set, tokenizer=TokenizerConfig(16))
    with pytest.raises(ValueError, match="colour autoencoder"):
        CamSeg(dataclasses.replace(labels_only, fast_decoder=FastDecoderConfig()))
    with pytest.raises(ValueError, match="too many for a stride of 4"):
        CamSeg(dataclasses.replace(CONFIG, fast_decoder=FastDecoderConfig((8,) * 4, (1,) * 4)))
