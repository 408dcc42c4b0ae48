"""The official network: sizes, checkpoints in and out, devices."""

import argparse
import json
from pathlib import Path

import official_reference
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.lab.parity import parity_config
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError, load_pretrained, save_pretrained
from camss_ros.model.official import (
    base_config,
    convert,
    infer_config,
    official_autoencoder_names,
    official_transformer_names,
    read_autoencoder,
    read_transformer,
)
from camss_ros.model.schedule import SamplingOptions
from camss_ros.training.config import DataConfig, LoopOptions, SegmenterConfig, SourceConfig
from camss_ros.training.masking import TruncatedNormalRatio
from camss_ros.training.start import start_model

KEYS = Path(__file__).parents[3] / "shared" / "parity"


@pytest.fixture(scope="module")
def base():
    with torch.device("meta"):
        return CamSeg(base_config()).eval()


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Official tensors of a small network: autoencoder, transformer with denoiser."""
    directory = tmp_path_factory.mktemp("parity")
    official_reference.write_parity_folder(directory, batch=1)
    return tuple(
        load_file(directory / f"{part}_weights_fp16.safetensors") for part in ("vae", "transformer")
    )


def save_checkpoints(directory, states):
    """The small network in the layout of the published pickles."""
    vae, transformer = states
    vae = {**vae, "loss.discriminator.main.0.weight": torch.zeros(2, 2)}
    torch.save({"state_dict": vae}, directory / "vae.ckpt")
    last = {f"module.{name}": value for name, value in transformer.items()}
    average = {name: value + 1 for name, value in transformer.items()}
    content = {
        "model": last,
        "model_ema": average,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
        "epoch": 400,
        "args": argparse.Namespace(lr=1e-4),
    }
    torch.save(content, directory / "transformer.pth")
    return directory / "vae.ckpt", directory / "transformer.pth"


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_base_has_the_published_size(base):
    assert parameters(base.transformer) + parameters(base.denoiser) == 217_097_760
    assert parameters(base.mask_autoencoder) == 69_610_963


def test_base_names_its_tensors_as_the_official_checkpoint_does(base):
    names = dict(official_transformer_names(base).values())
    assert names["encoder_pos_embed_learned"] == (1, 4608, 768)
    assert names["z_proj2.weight"] == (768, 16)
    assert names["decoder_blocks.11.attn.qkv.weight"] == (2304, 768)
    assert names["diffloss.net.res_blocks.5.adaLN_modulation.1.weight"] == (3072, 1024)
    assert names["diffloss.net.final_layer.linear.weight"] == (32, 1024)
    names = dict(official_autoencoder_names(base).values())
    assert names["decoder.up.4.attn.2.proj_out.weight"] == (512, 512, 1, 1)
    assert names["decoder.up.3.block.0.nin_shortcut.weight"] == (256, 512, 1, 1)
    assert names["encoder.down.3.downsample.conv.weight"] == (256, 256, 3, 3)
    assert names["quant_conv.weight"] == (32, 32, 1, 1)


@pytest.mark.skipif(not KEYS.is_dir(), reason=f"no key lists at {KEYS}")
@pytest.mark.parametrize(
    ("file", "names_of"),
    [
        ("official_vae_keys.json", official_autoencoder_names),
        ("official_transformer_keys.json", official_transformer_names),
    ],
)
def test_base_has_every_published_tensor_in_its_shape(base, file, names_of):
    published = json.loads((KEYS / file).read_text())["state_dict"]
    assert {name: list(shape) for name, shape in names_of(base).values()} == published


@pytest.mark.parametrize("options", [{}, {"iterations": 3}, {"samples": 2, "sampler": "ddpm"}])
def test_the_whole_pipeline_stays_on_its_device(base, options):
    """On the meta device, a tensor made anywhere else makes the operation fail."""
    plan = base.plan(SamplingOptions(steps=2, temperature=1.0, **options))
    images = torch.zeros(1, 3, 768, 768, dtype=torch.uint8, device="meta")
    probabilities = base.generate(images, plan)
    assert probabilities.device.type == "meta"
    assert probabilities.shape == (1, 20, 768, 768)
    assert probabilities.dtype == torch.float32


def test_labels_are_encoded_on_their_device(base):
    labels = torch.zeros(1, 768, 768, dtype=torch.int64, device="meta")
    latents = base.mask_autoencoder.encode(labels)
    assert latents.device.type == "meta"
    assert latents.shape == (1, 16, 48, 48)


def test_sizes_are_read_off_the_shapes(states):
    inferred = infer_config(*states, heads=3)
    expected = parity_config(official_reference.SMALL)
    assert inferred.transformer == expected.transformer
    assert inferred.denoiser == expected.denoiser
    assert inferred.input_size == expected.input_size
    assert inferred.mask_autoencoder.multipliers == expected.mask_autoencoder.multipliers
    assert inferred.mask_autoencoder.attention_levels == (1, 2)
    assert inferred.learned_variance
    name = "diffloss.net.final_layer.linear.weight"
    outputs = states[1][name]
    without = {**states[1], name: outputs[: len(outputs) // 2]}
    narrow = infer_config(states[0], without)
    assert not narrow.learned_variance
    assert narrow.transformer.heads == 1  # of 64 channels or fewer


@pytest.mark.parametrize("ema", [True, False])
def test_converted_checkpoints_load_as_a_model(states, tmp_path, ema):
    vae, transformer = save_checkpoints(tmp_path, states)
    command = ["convert", "official", "--vae", str(vae), "--transformer", str(transformer)]
    command += ["--output", str(tmp_path / "model"), "--heads", "3"]
    result = CliRunner().invoke(app, [*command, "--ema" if ema else "--no-ema"])
    assert result.exit_code == 0, result.output

    model = load_pretrained(tmp_path / "model")
    expected = states[1]["z_proj1.weight"].float() + (1 if ema else 0)
    torch.testing.assert_close(model.transformer.z_proj1.weight, expected, rtol=1e-3, atol=1e-3)
    images = torch.randint(0, 256, (1, 3, 24, 24), generator=torch.Generator().manual_seed(0))
    plan = model.plan(SamplingOptions(steps=2))
    probabilities = model.generate(images, plan)
    assert probabilities.shape == (1, 20, 24, 24)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, 24, 24))
    direct = convert(
        infer_config(read_autoencoder(vae), read_transformer(transformer, ema), heads=3),
        read_autoencoder(vae),
        read_transformer(transformer, ema),
    )
    again = direct.generate(images, direct.plan(SamplingOptions(steps=2)))
    torch.testing.assert_close(probabilities, again)


def test_all_misfits_are_listed_by_name_at_once(states, tmp_path):
    vae, transformer = (dict(state) for state in states)
    del vae["encoder.mid.attn_1.q.weight"], transformer["decoder_norm.bias"]
    transformer["surprise"] = torch.zeros(1)
    transformer["z_proj_ln.weight"] = torch.zeros(7)
    with pytest.raises(ModelError) as error:
        convert(infer_config(vae, transformer, heads=3), vae, transformer)
    message = str(error.value)
    assert "missing encoder.mid.attn_1.q.weight" in message
    assert "missing decoder_norm.bias" in message
    assert "unexpected surprise" in message
    assert "z_proj_ln.weight has shape [7], expected [48]" in message


def test_a_training_starts_from_the_official_autoencoder_or_names_what_misfits(states, tmp_path):
    whole = convert(infer_config(*states, heads=3), *states)
    path, _ = save_checkpoints(tmp_path, states)
    config = SegmenterConfig(
        DataConfig((SourceConfig("cityscapes"),)), LoopOptions(1, 1, 1e-3), whole.config,
        AugmentationOptions(size=whole.config.input_size), TruncatedNormalRatio(),
        autoencoder=str(path),
    )  # fmt: skip
    expected = whole.mask_autoencoder.state_dict()
    for name, value in start_model(config).mask_autoencoder.state_dict().items():
        assert torch.equal(value, expected[name]), name
    vae = {**states[0], "decoder.norm_out.bias": torch.zeros(7)}
    save_checkpoints(tmp_path, (vae, states[1]))
    with pytest.raises(ModelError, match=r"vae\.ckpt: decoder\.norm_out\.bias has shape \[7\]"):
        start_model(config)
    del vae["encoder.conv_out.bias"]
    save_checkpoints(tmp_path, (vae, states[1]))
    with pytest.raises(ModelError, match=r"missing encoder\.conv_out\.bias and 1 more"):
        start_model(config)


def test_a_missing_tensor_that_tells_a_size_is_named(states):
    vae, transformer = (dict(state) for state in states)
    del transformer["z_proj1.weight"], vae["encoder.conv_in.weight"]
    with pytest.raises(ModelError, match=r"missing encoder\.conv_in\.weight(.|\n)*z_proj1\.weight"):
        convert(infer_config(vae, transformer), vae, transformer)


def test_files_that_are_no_checkpoints_are_refused(states, tmp_path):
    text = tmp_path / "text.ckpt"
    text.write_text("not a checkpoint")
    torch.save([1, 2], tmp_path / "list.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "empty.ckpt")
    for name in ("text", "list", "empty"):
        with pytest.raises(ModelError, match=name):
            read_autoencoder(tmp_path / f"{name}.ckpt")
    torch.save({"model": states[1]}, tmp_path / "last.pth")
    with pytest.raises(ModelError, match="--no-ema"):
        read_transformer(tmp_path / "last.pth")


def test_heads_that_do_not_divide_the_width_are_refused(states):
    with pytest.raises(ModelError, match="48"):
        infer_config(*states, heads=5)


def test_the_config_survives_the_disk(states, tmp_path):
    from camss_ros.model.checkpoint import read_config

    model = convert(infer_config(*states, heads=3), *states)
    save_pretrained(model, tmp_path)
    assert read_config(tmp_path / "config.json") == model.config
    values = json.loads((tmp_path / "config.json").read_text())
    values["transformer"]["layers"] = 3
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="layers"):
        read_config(tmp_path / "config.json")


def test_the_segmenter_runs_it_and_calls_void_255(states, tmp_path):
    from camss_ros.inference.frame_ops import to_labels
    from camss_ros.inference.segmenter import Segmenter

    save_pretrained(convert(infer_config(*states, heads=3), *states), tmp_path)
    segmenter = Segmenter(tmp_path, device="cpu", precision="fp32")
    assert len(segmenter.classes) == 19
    image = torch.randint(0, 256, (30, 40, 3), dtype=torch.uint8).numpy()
    labels = segmenter.segment(image).labels
    assert labels.shape == (30, 40)
    assert set(labels.flatten().tolist()) <= {*range(19), 255}

    void = torch.zeros(1, 20, 2, 2)
    void[:, 19] = 1
    assert (to_labels(void, (2, 2), void_last=True)[0] == 255).all()
