import pytest
import torch

from camss_ros.images.label_sets import load_label_set
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig, PaletteAutoencoder

TINY = ImageAutoencoderConfig(4, 32, (1, 1, 2), 1, (2,), latent_scale=0.5)
PALETTE = load_label_set("cityscapes19")
COLORS = [each.color for each in PALETTE.classes]


@pytest.fixture(scope="module")
def autoencoder():
    torch.manual_seed(0)
    return PaletteAutoencoder(TINY, COLORS, PALETTE.void_color).eval().requires_grad_(False)


def test_shapes_and_scale(autoencoder):
    image = torch.rand(2, 3, 16, 24) * 2 - 1
    moments = autoencoder.images.moments(image)
    assert moments.shape == (2, 8, 4, 6)
    latents = autoencoder.images.encode(image)
    torch.testing.assert_close(latents, moments[:, :4] * 0.5)
    assert autoencoder.images.decode(latents).shape == (2, 3, 16, 24)
    assert autoencoder.decode(latents).shape == (2, 20, 16, 24)


def test_decoding_undoes_the_scale(autoencoder):
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    network = autoencoder.images.network
    expected = network.decode(network.encode(image).latent_dist.mode()).sample
    actual = autoencoder.images.decode(autoencoder.images.encode(image))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_painted_labels_are_read_back(autoencoder, dtype):
    labels = torch.arange(19, dtype=dtype).repeat(2, 3, 1)
    labels[0, 0, 0] = 255
    classes = autoencoder.classify(autoencoder.paint(labels)).argmax(dim=1)
    expected = labels.long().masked_fill(labels.long() == 255, 19)
    assert torch.equal(classes, expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_nearest_colour_wins(autoencoder, compiled, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_dynamo_compiling", lambda: compiled)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    palette = torch.tensor([*COLORS, PALETTE.void_color], dtype=torch.float64) / 255
    pixels = (image.double() * 0.5 + 0.5).permute(0, 2, 3, 1)
    distance = (pixels[..., None, :] - palette).square().sum(dim=-1)
    classes = autoencoder.classify(image).argmax(dim=1)
    chosen = distance.gather(-1, classes[..., None])[..., 0]
    torch.testing.assert_close(chosen, distance.amin(dim=-1), rtol=0, atol=1e-6)


def test_confidence_falls_between_two_colours(autoencoder):
    road, building = (torch.tensor(COLORS[index]) for index in (0, 2))
    share = torch.linspace(0, 1, 11)[:, None]
    line = (road * (1 - share) + building * share) / 127.5 - 1
    probabilities = autoencoder.classify(line.T[None, :, None]).softmax(dim=1)[0, :, 0]
    assert probabilities[0, 0] > 0.99
    assert 0.4 < probabilities[0, 5] < 0.51
    assert (probabilities[0].diff() <= 0).all()


def test_half_precision_leaves_the_palette_alone():
    torch.manual_seed(0)
    half = PaletteAutoencoder(TINY, COLORS, PALETTE.void_color).to(torch.bfloat16)
    labels = torch.arange(19).repeat(1, 4, 1)
    assert torch.equal(half.classify(half.paint(labels)).argmax(dim=1), labels)
    latents = half.encode(torch.zeros(1, 16, 16, dtype=torch.int64))
    assert half.decode(latents).dtype == torch.float32
