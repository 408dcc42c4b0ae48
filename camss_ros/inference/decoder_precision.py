"""Keeps the KL autoencoder's decoder from overflowing in float16, whose largest number is 65504.

Its residual streams are not normalised, and may grow beyond that. What each stage reaches is
measured once, in float32, when the model is loaded; a stage that comes near the limit computes in
a wider type, the others stay in float16.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from camss_ros.inference.device import select_dtype
from camss_ros.model.image_autoencoder import PaletteAutoencoder

_log = logging.getLogger(__name__)

# Latents of real frames may reach further than those measured on: a quarter of the range.
SAFE_ACTIVATION = torch.finfo(torch.float16).max / 4
_GRID = 16  # latents in each direction that are measured on


def decoder_stages(autoencoder: PaletteAutoencoder) -> dict[str, nn.Module]:
    """The stages of the decoder in the order in which they run, by name."""
    network = autoencoder.images.network
    decoder = network.decoder
    return {
        "post_quant_conv": network.post_quant_conv,
        "conv_in": decoder.conv_in,
        "mid_block": decoder.mid_block,
        **{f"up_blocks.{index}": block for index, block in enumerate(decoder.up_blocks)},
        "conv_norm_out": decoder.conv_norm_out,
        "conv_out": decoder.conv_out,
    }


@torch.no_grad()
def largest_activations(autoencoder: PaletteAutoencoder) -> dict[str, float]:
    """Largest absolute value that goes into, through and out of each stage of the decoder.

    Measured on the latents of a label image in which every class occurs, and on as many standard
    normal ones, which are what the denoiser starts from.

    Args:
        autoencoder: in float32.

    Returns:
        By name of the stage; not finite where it overflows in float32 as well.
    """
    largest: dict[str, Tensor] = {}

    def observe(stage: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            seen = [each for each in (*inputs, output) if isinstance(each, Tensor)]
            # NaN wins in `amax` and `maximum`, which Python's max would lose
            here = torch.stack([each.abs().amax() for each in seen]).amax()
            largest[stage] = torch.maximum(largest[stage], here) if stage in largest else here

        return hook

    hooks = [
        module.register_forward_hook(observe(name))
        for name, stage in decoder_stages(autoencoder).items()
        for module in stage.modules()
        if not isinstance(module, nn.ModuleList)
    ]
    try:
        autoencoder.decode(_latents(autoencoder))
    finally:
        for each in hooks:
            each.remove()
    return {name: float(value) for name, value in largest.items()}


def cast_to_half(network: nn.Module, autoencoder: PaletteAutoencoder) -> list[str]:
    """Cast a network to float16, but for the stages of its decoder that this is too narrow for.

    They compute in bfloat16, or else in float32.

    Args:
        network: in float32, on its device; changed.
        autoencoder: of its masks.

    Returns:
        Names of these stages.
    """
    activations = largest_activations(autoencoder)
    listed = ", ".join(f"{name} {value:.3g}" for name, value in activations.items())
    _log.info("largest activations of the mask decoder: %s", listed)
    wide = [name for name, value in activations.items() if not value <= SAFE_ACTIVATION]
    stages = decoder_stages(autoencoder)
    weights = {name: stages[name].state_dict() for name in wide}  # still in float32
    network.to(torch.float16)
    if not wide:
        return wide
    dtype = select_dtype("auto", autoencoder.colors.device)
    if dtype == torch.float16:  # a GPU without bfloat16
        dtype = torch.float32
    _log.warning(
        "float16 would overflow in the mask decoder: %s in %s",
        ", ".join(wide), str(dtype).removeprefix("torch."),
    )  # fmt: skip
    for name, stage in stages.items():
        if name in wide:
            stage.to(dtype).load_state_dict(weights[name])
        stage.register_forward_pre_hook(_take_own_dtype)
    return wide


def _take_own_dtype(stage: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    dtype = next(stage.parameters()).dtype
    return tuple(each.to(dtype) if isinstance(each, Tensor) else each for each in inputs)


def _latents(autoencoder: PaletteAutoencoder) -> Tensor:
    """[2, C, 16, 16] scaled latents, of a label image and of noise."""
    device = autoencoder.colors.device
    # a class for 2 x 2 latents, so that there are areas as well as borders
    side = _GRID // 2
    classes = torch.arange(side**2, device=device) % len(autoencoder.colors)
    block = torch.ones(2 * autoencoder.stride, 2 * autoencoder.stride, device=device).long()
    encoded = autoencoder.encode(torch.kron(classes.view(side, side), block)[None])
    noise = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(0))
    return torch.cat([encoded, noise.to(device)])
