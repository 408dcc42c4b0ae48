"""Training loss of the denoiser.

Mean squared error of the prediction and, where the network predicts its variance as well, the
variational bound of improved diffusion (arXiv 2102.09672, section 3.1) for the variance alone.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from camss_ros.model.diffusion import predict_x0, v_target
from camss_ros.model.schedule import Prediction, cosine_alpha_bar

# Half the width of a bin of 8-bit data in [-1, 1], which the bound is measured on at t = 0.
_HALF_BIN = 1 / 255
_MIN_PROBABILITY = 1e-12


def diffusion_loss(
    output: Tensor, x0: Tensor, x: Tensor, t: Tensor, noise: Tensor, prediction: Prediction
) -> Tensor:
    """Loss of each token.

    Args:
        output: [n, C] prediction, or [n, 2C] prediction and variance value (-1 the smallest, 1 the
            largest variance).
        x0, noise: [n, C] clean latents and the noise added to them.
        x: [n, C] noisy latents, `q_sample(x0, t, noise)`.
        t: [n] int64 timesteps, 0 to 999.
        prediction: what the first C channels of the output are.

    Returns:
        [n] float32: squared error, mean over channels, plus the bound in bits a channel.
    """
    channels = x0.shape[-1]
    predicted = output[..., :channels].float()
    target = noise if prediction == "epsilon" else v_target(x0, t, noise)
    loss = (predicted - target).square().mean(dim=-1)
    if output.shape[-1] == channels:
        return loss
    # the bound must not pull at the prediction
    guess = predict_x0(x, t, predicted.detach(), prediction)
    return loss + _variance_bound(output[..., channels:].float(), guess, x0, t)


@lru_cache(maxsize=8)
def _posterior(device: torch.device) -> Tensor:
    """Weight of x0 in the posterior mean, log of its variance, log beta: [3, 1000] float32."""
    bar = cosine_alpha_bar()
    previous = torch.cat([torch.ones_like(bar[:1]), bar[:-1]])
    beta = 1 - bar / previous
    variance = beta * (1 - previous) / (1 - bar)
    variance[0] = variance[1]  # it is zero at t = 0
    weight = beta * previous.sqrt() / (1 - bar)
    with torch.inference_mode(False):  # cached, and training may use it later
        return torch.stack([weight, variance.log(), beta.log()]).float().to(device)


def _variance_bound(value: Tensor, guess: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    """Term of the variational bound, [n], in bits a channel."""
    weight, log_min, log_max = _posterior(t.device)[:, t, None]
    share = (value + 1) / 2
    log_variance = share * log_max + (1 - share) * log_min
    # x has the same weight in both means, so that they differ by x0's part only
    difference = weight * (x0 - guess)
    divergence = 0.5 * (
        log_variance
        - log_min
        - 1
        + (log_min - log_variance).exp()
        + difference.square() * (-log_variance).exp()
    )
    at_zero = _negative_log_likelihood(x0, guess, log_variance)
    nats = torch.where(t[:, None] == 0, at_zero, divergence)
    return nats.mean(dim=-1) / math.log(2)


def _negative_log_likelihood(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of 8-bit data in [-1, 1] under a normal distribution, its outer bins open."""
    precision = (-0.5 * log_variance).exp()
    below = _normal_cdf(precision * (x - mean - _HALF_BIN))
    up_to = _normal_cdf(precision * (x - mean + _HALF_BIN))
    probability = torch.where(x < -0.999, up_to, torch.where(x > 0.999, 1 - below, up_to - below))
    return -probability.clamp(min=_MIN_PROBABILITY).log()


def _normal_cdf(x: Tensor) -> Tensor:
    """The tanh approximation that the official bound is computed with."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
