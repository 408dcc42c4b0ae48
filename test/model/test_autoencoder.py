"""The mask autoencoder: shapes, void, normalisation of the latents."""

import torch

from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig, Posterior

CONFIG = MaskAutoencoderConfig(4, (8, 8, 8), (1, 1, 1))


def autoencoder() -> MaskAutoencoder:
    torch.manual_seed(0)
    return MaskAutoencoder(3, CONFIG).eval().requires_grad_(False)


def test_sixteen_pixels_make_a_latent_and_back():
    model = autoencoder()
    labels = torch.randint(0, 3, (2, 32, 48))
    latents = model.encode(labels)
    assert latents.shape == (2, 4, 2, 3)
    assert model.decode(latents).shape == (2, 3, 32, 48)


def test_void_is_no_class():
    one_hot = autoencoder().one_hot(torch.tensor([[[0, 2, 255]]]))
    assert one_hot[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_normalisation_is_undone_by_decoding():
    model = autoencoder()
    labels = torch.randint(0, 3, (1, 32, 32))
    plain = model.decode(model.encode(labels))
    model.latent_mean += 0.5
    model.latent_std *= 3.0
    torch.testing.assert_close(model.decode(model.encode(labels)), plain, rtol=1e-4, atol=1e-5)


def test_kl_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    expected = torch.distributions.kl_divergence(normal, standard).sum(dim=1)
    torch.testing.assert_close(Posterior(mean, log_variance).kl(), expected)
