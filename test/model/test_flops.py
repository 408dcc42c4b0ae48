"""Multiply-accumulates: a small network counted by hand, the bundled one against its limit."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import find_model, read_config, save_pretrained, weights_hash
from camss_ros.model.flops import count_macs
from camss_ros.model.schedule import SamplingOptions


def test_a_depthwise_convolution_costs_a_kernel_for_each_value():
    with torch.device("meta"):
        layer, x = torch.nn.Conv2d(24, 24, 5, padding=2, groups=24), torch.zeros(1, 24, 8, 6)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 24 * 8 * 6 * 25


def test_by_hand(tiny_config):
    """32 x 48 pixels are 2 x 3 tokens; transformer and denoiser are 32 wide, latents 8 channels."""
    n, width, latent = 6, 32, 8
    macs = count_macs(tiny_config, SamplingOptions(steps=3))
    # A block: qkv and projection, scores and weighted sum, two layers of the MLP.
    block = n * 4 * width**2 + 2 * n**2 * width + n * 2 * 4 * width**2
    assert macs["transformer"] == n * 32 * width + 2 * block
    # Decoder 8 -> 32, 32, [up] 16, [up] 16 channels, one residual block each; 3 x 3 kernels.
    decoder = n * 9 * latent * 32 + n * 2 * 9 * 32 * 32  # stem, stride 16
    decoder += n * 32 * 64 + 4 * n * 2 * 9 * 16 * 16  # up to stride 8
    decoder += 4 * n * 16 * 64 + 16 * n * 2 * 9 * 16 * 16  # up to stride 4
    decoder += 16 * n * 9 * 16 * 11 * 16  # eleven classes of 4 x 4 pixels
    assert macs["mask_decoder"] == decoder


def test_denoiser_costs_by_step_and_sample(tiny_config):
    def denoiser(**options):
        return count_macs(tiny_config, SamplingOptions(**options))["denoiser"]

    step = denoiser(steps=2) - denoiser(steps=1)
    once = denoiser(steps=1) - step
    assert step > 0
    assert denoiser(steps=4) == once + 4 * step
    # The embedding of the condition is made for each sample too.
    assert denoiser(steps=4, samples=3) == 3 * (once + 4 * step)


def test_counted_as_on_the_real_device(tiny_config, tiny_model):
    """All but attention, of which the counter does not know the CPU's kernel."""
    image = torch.zeros(1, 3, 32, 48)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tokens = tiny_model.image_tokens(image)
    assert tokens.shape == (1, 32, 2, 3)
    macs = count_macs(tiny_config, SamplingOptions(steps=1))
    assert macs["image_tokens"] == counter.get_total_flops() // 2


def test_convolutions_grow_with_the_frame(tiny_config):
    options = SamplingOptions(steps=1)
    small, large = (count_macs(tiny_config, options, size) for size in ((64, 96), (128, 192)))
    for stage in ("image_tokens", "denoiser", "mask_decoder"):
        assert large[stage] == 4 * small[stage]


def test_the_bundled_model_stays_under_20_gmac_and_32_megabytes():
    assert (find_model("camss-tiny") / "model.safetensors").stat().st_size < 32e6
    config = read_config(find_model("camss-tiny") / "config.json")
    macs = count_macs(config, SamplingOptions(steps=4), (352, 480))
    assert 1e9 < sum(macs.values()) < 20e9


@pytest.mark.parametrize("size", [(30, 48), (0, 16), (32, -16)])
def test_sizes_that_do_not_fit_are_named(tiny_config, size):
    with pytest.raises(ValueError, match=f"{size[1]}x{size[0]}.*multiples of 16"):
        count_macs(tiny_config, SamplingOptions(), size)
    with pytest.raises(ValueError, match="2 iterations"):
        count_macs(tiny_config, SamplingOptions(iterations=2))


def info(*arguments):
    result = CliRunner().invoke(app, ["info", *map(str, arguments)])
    return result.exit_code, result.output


def test_info_describes_a_model(tiny_config, tmp_path):
    config = replace(tiny_config, name="under-test")
    model = CamSeg(config)
    save_pretrained(model, tmp_path)
    code, output = info("--model", tmp_path)
    assert code == 0, output
    assert "under-test" in output
    assert "bicyclist" in output
    assert weights_hash(tmp_path) in output
    for part in (model.transformer, model.mask_autoencoder.decoder):  # no encoder of masks
        assert f"{sum(p.numel() for p in part.parameters()) / 1e6:.3f}" in output
    assert "GMAC" not in output


def test_info_counts_the_frame_that_was_asked_for(tiny_config, tmp_path):
    save_pretrained(CamSeg(tiny_config), tmp_path)
    code, output = info("--model", tmp_path, "--flops", "--size", "480x320", "--steps", 7)
    assert code == 0, output
    macs = count_macs(tiny_config, SamplingOptions(steps=7), (320, 480))
    assert f"{sum(macs.values()) / 1e9:.3f}" in output
    assert "a frame of 480 x 320, steps: 7" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "no_such_model"), "no_such_model"),
        (("--size", "big"), "expected WIDTHxHEIGHT"),
        (("--flops", "--size", "100x100"), "multiples of 16"),
        (("--flops", "--steps", "0"), "steps"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    code, output = info(*arguments)
    assert code == 1
    assert message in output
