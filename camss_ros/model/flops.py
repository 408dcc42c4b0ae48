"""What a frame costs: multiply-accumulates of each stage, counted without computing anything."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from camss_ros.model.camseg import CamSeg
from camss_ros.model.config import CamSegConfig
from camss_ros.model.schedule import SamplingOptions


@torch.no_grad()
def count_macs(
    config: CamSegConfig, options: SamplingOptions, size: tuple[int, int] | None = None
) -> dict[str, int]:
    """Multiply-accumulates of each stage for one frame, decoded in one pass.

    Convolutions, linear layers and attention are counted, by `torch.utils.flop_counter` on the
    meta device; norms, activations, interpolation and the time embeddings, which are made once for
    many frames, are not. One multiply-accumulate is two of its FLOPs.

    Args:
        config: of the network.
        options: steps and samples count; `iterations` must be 1.
        size: (height, width) of the frame in the network, by default `config.input_size`.

    Returns:
        `image_tokens`, `transformer`, `denoiser` (all steps and samples) and `mask_decoder`.

    Raises:
        ValueError: sides that are no positive multiples of the stride, a size that the network
            can't take, or several iterations.
    """
    height, width = size or config.input_size
    if options.iterations != 1:
        raise ValueError(f"{options.iterations} iterations: expected 1, decoding in one pass")
    with torch.device("meta"):
        model = CamSeg(config).eval()
        if height < 1 or width < 1 or height % model.stride or width % model.stride:
            raise ValueError(
                f"size {width}x{height}: expected width x height, multiples of {model.stride}"
            )
        image = torch.zeros(1, 3, height, width)
    plan = model.plan(options)
    macs: dict[str, int] = {}

    def counted(stage: str, compute: Callable[[], Tensor]) -> Tensor:
        with FlopCounterMode(display=False) as counter:
            result = compute()
        macs[stage] = counter.get_total_flops() // 2
        return result

    tokens = counted("image_tokens", lambda: model.image_tokens(image))
    condition = counted("transformer", lambda: model.condition(tokens))
    latents = counted("denoiser", lambda: model.draw_from(condition, tokens.shape[-2:], plan))
    counted("mask_decoder", lambda: model.decode(latents))
    return macs
