"""The forward diffusion of latents, and clean latents from what a network predicts."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from camss_ros.model.schedule import Prediction, cosine_alpha_bar


@lru_cache(maxsize=8)
def _signal_and_noise(device: torch.device) -> Tensor:
    """sqrt(alpha_bar) and sqrt(1 - alpha_bar), [2, 1000] float32 on the device."""
    alpha_bar = cosine_alpha_bar()
    with torch.inference_mode(False):  # cached, and training may use it later
        return torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()]).float().to(device)


def _scales(t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    signal, noise = _signal_and_noise(t.device)[:, t]
    shape = t.shape + (1,) * (like.ndim - t.ndim)
    return signal.view(shape), noise.view(shape)


def q_sample(x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Diffuse clean latents: sqrt(alpha_bar) * x0 + sqrt(1 - alpha_bar) * noise.

    Args:
        x0, noise: [n, ...] latents and standard normal noise.
        t: [n] int64 timesteps, 0 to 999.

    Returns:
        [n, ...] noisy latents.
    """
    signal, sigma = _scales(t, x0)
    return signal * x0 + sigma * noise


def v_target(x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Target of v-prediction (arXiv 2202.00512): sqrt(alpha_bar) * noise - sqrt(1-alpha_bar) * x0.

    Shapes as in `q_sample`.
    """
    signal, sigma = _scales(t, x0)
    return signal * noise - sigma * x0


def predict_x0(x: Tensor, t: Tensor, output: Tensor, prediction: Prediction) -> Tensor:
    """Clean latents implied by a network's output at `x`. Differentiable.

    Args:
        x: [n, ...] noisy latents.
        t: [n] int64 timesteps, 0 to 999.
        output: [n, ...] predicted v or epsilon.

    Returns:
        [n, ...] latents.
    """
    signal, sigma = _scales(t, x)
    if prediction == "v":
        return signal * x - sigma * output
    return (x - sigma * output) / signal


def ddim_move(x: Tensor, t: Tensor, x0: Tensor, to: Tensor) -> Tensor:
    """Move noisy latents to other timesteps along the line through their clean estimate (DDIM).

    Args:
        x, x0: [n, ...] latents at `t` and their clean estimate.
        t, to: [n] int64 timesteps, 0 to 999.

    Returns:
        [n, ...] latents at `to`.
    """
    signal, sigma = _scales(t, x)
    return q_sample(x0, to, (x - signal * x0) / sigma)
