"""The vector quantiser: nearest codes, gradients, a codebook that follows its latents."""

import math

import pytest
import torch

from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig
from camss_ros.model.vector_quantizer import VectorQuantizer, perplexity


def quantizer(codes, training=False):
    codes = torch.tensor(codes)
    layer = VectorQuantizer(*codes.shape).train(training)
    layer.codebook.copy_(codes)
    layer.sums.copy_(codes)
    layer.started.fill_(True)
    return layer


def as_map(rows):
    """[n, C] latents -> [1, C, 1, n]."""
    return torch.tensor(rows).T[None, :, None]


def test_each_place_gets_its_nearest_code():
    layer = quantizer([[0.0, 0.0], [1.0, 1.0], [-1.0, 2.0]])
    latents = torch.randn(2, 2, 3, 5)
    result = layer(latents)
    flat = latents.movedim(1, -1)
    expected = torch.cdist(flat.reshape(-1, 2), layer.codebook).argmin(dim=1).view(2, 3, 5)
    assert torch.equal(result.codes, expected)
    torch.testing.assert_close(result.latents, layer.codebook[expected].movedim(-1, 1))
    loss = (latents - layer.codebook[expected].movedim(-1, 1)).square().mean()
    torch.testing.assert_close(result.commitment_loss, loss)


def test_the_gradient_passes_as_if_nothing_had_happened():
    latents = torch.randn(1, 2, 2, 2, requires_grad=True)
    (quantizer([[0.0, 0.0], [1.0, 1.0]])(latents).latents * 3).sum().backward()
    torch.testing.assert_close(latents.grad, torch.full_like(latents, 3.0))


def test_codes_move_to_the_mean_of_their_latents():
    layer = quantizer([[0.0, 0.0], [10.0, 10.0]], training=True)
    latents = as_map([[1.0, 0.0], [3.0, 0.0], [9.0, 8.0]])
    for _ in range(1000):
        layer(latents)
    expected = torch.tensor([[2.0, 0.0], [9.0, 8.0]])
    torch.testing.assert_close(layer.codebook, expected, rtol=1e-3, atol=1e-3)


def test_a_dead_code_comes_back_to_life():
    layer = quantizer([[0.0, 0.0], [99.0, 99.0]], training=True)
    latents = as_map([[-1.0, 0.0], [1.0, 0.0]])
    torch.manual_seed(0)
    for _ in range(1000):
        codes = layer(latents).codes
    assert codes.unique().tolist() == [0, 1]


def test_training_starts_at_latents_of_the_first_batch_and_evaluation_changes_nothing():
    layer = VectorQuantizer(4, 2)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    latents = torch.randn(1, 2, 8, 8) + 100
    layer.eval()(latents)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.train()(latents)
    assert (layer.codebook - 100).abs().max() < 6


def test_perplexity():
    assert perplexity(torch.tensor([5, 5, 0, 0])) == pytest.approx(2)
    assert perplexity(torch.tensor([3, 1])) == pytest.approx(
        math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    )


def test_no_codes_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        VectorQuantizer(0, 4)


CONFIG = MaskAutoencoderConfig(4, (8, 8, 8), (1, 1, 1), codebook_size=32)


def test_an_autoencoder_with_codes_has_latents_of_the_same_shape():
    torch.manual_seed(0)
    model = MaskAutoencoder(3, CONFIG).eval().requires_grad_(False)
    labels = torch.randint(0, 3, (2, 32, 48))
    latents = model.encode(labels)
    assert latents.shape == (2, 4, 2, 3)
    assert model.decode(latents).shape == (2, 3, 32, 48)
    codes = model.quantize(labels).codes
    assert codes.shape == (2, 2, 3)
    torch.testing.assert_close(latents, model.quantizer.codebook[codes].movedim(-1, 1))
    with pytest.raises(RuntimeError, match="use `quantize`"):
        model.posterior(labels)
    continuous = MaskAutoencoder(3, MaskAutoencoderConfig(4, (8, 8, 8), (1, 1, 1)))
    with pytest.raises(RuntimeError, match="use `posterior`"):
        continuous.quantize(labels)
