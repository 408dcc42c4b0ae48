"""The KL decoder in float16: what overflows computes in a wider type, the rest does not."""

import copy
import logging

import official_reference
import pytest
import torch
from safetensors.torch import load_file

from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.decoder_precision import (
    SAFE_ACTIVATION,
    cast_to_half,
    decoder_stages,
    largest_activations,
)
from camss_ros.inference.device import select_dtype
from camss_ros.model.official import convert, infer_config

CPU = torch.device("cpu")
HALF = torch.float16


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A small network in the official layout."""
    folder = tmp_path_factory.mktemp("parity")
    official_reference.write_parity_folder(folder, batch=1)
    states = [
        load_file(folder / f"{part}_weights_fp16.safetensors") for part in ("vae", "transformer")
    ]
    return convert(infer_config(*states, heads=4), *states)


def grown(network, factor):
    """A copy in which the first up block adds much to the residual stream, but not the others."""
    network = copy.deepcopy(network)
    block = network.mask_autoencoder.images.network.decoder.up_blocks[0]
    block.resnets[-1].conv2.weight.mul_(factor)
    return network


def stage_dtypes(network):
    stages = decoder_stages(network.mask_autoencoder)
    return {name: next(stage.parameters()).dtype for name, stage in stages.items()}


def latents_of(network):
    channels = network.latent_channels
    return torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(1))


def test_what_fits_stays_in_half_precision(official, caplog):
    network = copy.deepcopy(official)
    with caplog.at_level(logging.INFO):
        TorchBackend(network, CPU, HALF)
    assert set(stage_dtypes(network).values()) == {HALF}
    assert not any(each._forward_pre_hooks for each in network.modules())
    assert not any(each._forward_hooks for each in network.modules())
    assert "largest activations of the mask decoder: post_quant_conv" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_overflows_is_computed_in_a_wider_type(official, caplog):
    network = grown(official, 1e7)
    latents = latents_of(network)
    expected = network.mask_autoencoder.images.decode(latents)
    assert expected.isfinite().all()
    plain = copy.deepcopy(network).to(HALF)
    assert not plain.mask_autoencoder.images.decode(latents).isfinite().all()

    TorchBackend(network, CPU, HALF)
    dtypes = stage_dtypes(network)
    wide = {name for name, dtype in dtypes.items() if dtype != HALF}
    # the block itself and those that its stream goes on through
    assert {"up_blocks.0", "up_blocks.1"} <= wide
    assert {"post_quant_conv", "conv_in", "mid_block", "conv_out"}.isdisjoint(wide)
    assert {dtypes[name] for name in wide} == {select_dtype("auto", CPU)}
    assert "up_blocks.0" in caplog.text
    actual = network.mask_autoencoder.images.decode(latents)
    torch.testing.assert_close(actual.float(), expected, atol=0.1, rtol=0.05)


def test_a_gpu_without_bfloat16_falls_back_to_float32(official, monkeypatch):
    monkeypatch.setattr(
        "camss_ros.inference.decoder_precision.select_dtype", lambda precision, device: HALF
    )
    network = grown(official, 1e7)
    latents = latents_of(network)
    expected = network.mask_autoencoder.images.decode(latents)
    TorchBackend(network, CPU, HALF)
    assert stage_dtypes(network)["up_blocks.0"] == torch.float32
    actual = network.mask_autoencoder.images.decode(latents)
    torch.testing.assert_close(actual.float(), expected, atol=0.02, rtol=0.02)


def test_the_measure_is_what_a_stage_reaches(official):
    before = largest_activations(official.mask_autoencoder)
    after = largest_activations(grown(official, 1e7).mask_autoencoder)
    assert list(before) == list(decoder_stages(official.mask_autoencoder))
    assert all(value <= SAFE_ACTIVATION for value in before.values())
    assert after["mid_block"] == before["mid_block"]
    assert after["up_blocks.0"] > 1e4 * before["up_blocks.0"]


def test_what_is_not_finite_in_float32_either_is_named(official):
    decoder = copy.deepcopy(official.mask_autoencoder)
    decoder.images.network.decoder.mid_block.resnets[0].conv1.weight.fill_(torch.nan)
    wide = cast_to_half(decoder, decoder)
    assert wide[0] == "mid_block"
    assert "conv_in" not in wide


def test_other_precisions_are_not_measured(official):
    network = grown(official, 1e7)
    TorchBackend(network, CPU, torch.float32)
    assert set(stage_dtypes(network).values()) == {torch.float32}
    assert not any(each._forward_pre_hooks for each in network.modules())
