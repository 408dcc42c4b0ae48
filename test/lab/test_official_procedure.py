"""The official procedure against a plain re-implementation of the official network."""

import math
from dataclasses import replace

import numpy as np
import official_reference as reference
import pytest
import torch

from camss_ros.lab.official_procedure import OfficialProcedure
from camss_ros.lab.parity import parity_config
from camss_ros.model.camseg import CamSeg
from camss_ros.model.official import convert

STEPS = reference.SMALL["sampling_steps"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """(network, reference weights of the autoencoder and of the rest): the same numbers."""
    vae, rest = reference.Weights(0), reference.Weights(2)
    image = torch.zeros(1, 3, 24, 24)
    reference_labels(vae, rest, image, torch.zeros(STEPS + 1, 2 * 36, 4))  # makes the weights
    network = convert(parity_config(reference.SMALL), vae.state, rest.state)
    return network, vae, rest


def reference_labels(vae, rest, image, noise):
    """Labels [H, W] in the official order, void first, by the official steps on all tokens."""
    config = reference.SMALL
    moments = reference.encode_moments(vae, config, image)
    channels = config["embed_dim"]
    tokens = (moments[:, :channels] * config["latent_scale"]).flatten(2).transpose(1, 2)
    count = tokens.shape[1]
    mask = torch.cat([torch.zeros(1, count), torch.ones(1, count)], dim=1)
    encoded = reference.mae_encoder(rest, config, tokens, torch.zeros_like(tokens), mask)
    condition = reference.mae_decoder(rest, config, encoded, mask)[0]
    timesteps = [round(i * 999 / (STEPS - 1)) for i in range(STEPS)]
    respaced = reference.Diffusion(timesteps)
    x = noise[0]
    for i in reversed(range(STEPS)):
        t = torch.full((len(x),), timesteps[i])
        output = reference.denoise(rest, config, x, t, condition)
        x = respaced.step(output, x, torch.full((len(x),), i), noise[STEPS - i])
    side = math.isqrt(count)
    latents = x[count:].T.reshape(1, channels, side, side)
    decoded = reference.decode_image(vae, config, latents)[0] * 0.5 + 0.5
    palette = torch.tensor(reference.PALETTE, dtype=torch.float32) / 255
    distance = (decoded.permute(1, 2, 0)[:, :, None] - palette).square().sum(dim=-1)
    return distance.argmin(dim=-1), distance


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_are_the_official_ones(official, seed):
    network, vae, rest = official
    image = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    generator = torch.Generator().manual_seed(seed)
    procedure = OfficialProcedure(network, CPU, STEPS)
    noise = procedure.draw_noise(generator)
    assert noise.shape == (STEPS, 2 * 36, 4), "all tokens, image and mask"
    labels, seconds = procedure.segment(image, noise)

    scaled = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    padded = torch.cat([noise, torch.zeros_like(noise[:1])])  # the last step's has no effect
    expected, distance = reference_labels(vae, rest, scaled, padded)
    # the official palette begins with void
    ours = torch.from_numpy(labels.astype(np.int64))
    ours = torch.where(ours == 255, 0, ours + 1)
    nearest = distance.gather(2, expected[..., None])[..., 0]
    chosen = distance.gather(2, ours[..., None])[..., 0]
    # a pixel between two colours may fall to either; the palette is rounded to four digits
    torch.testing.assert_close(chosen, nearest, rtol=2e-3, atol=1e-4)
    assert (ours == expected).double().mean() > 0.98
    assert len(labels[labels != labels[0, 0]]) > 0, "more than one class"

    stages = ["preprocess", "tokens", "transformer", "sampling", "decode", "postprocess", "total"]
    assert list(seconds) == stages
    assert sum(seconds[stage] for stage in stages[:-1]) == pytest.approx(seconds["total"])


def test_the_noise_decides(official):
    network, *_ = official
    procedure = OfficialProcedure(network, CPU, STEPS)
    image = np.full((30, 40, 3), 127, np.uint8)
    one, other = (procedure.draw_noise(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    labels = procedure.segment(image, one)[0]
    assert labels.shape == (24, 24)
    assert (labels == procedure.segment(image, one)[0]).all()
    assert (labels != procedure.segment(image, other)[0]).any()


def test_another_architecture_is_refused(tiny_config):
    network = CamSeg(replace(tiny_config, name="tiny")).eval()
    with pytest.raises(ValueError, match="tiny is no cam-seg-base"):
        OfficialProcedure(network, CPU)
