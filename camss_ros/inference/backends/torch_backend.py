"""PyTorch, stage by stage: eager, or each stage compiled by `torch.compile`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camss_ros.inference.backends.base import Backend, FramePrediction, StageDone
from camss_ros.inference.decoder_precision import cast_to_half
from camss_ros.inference.frame_ops import resize_frame
from camss_ros.model.camseg import CamSeg
from camss_ros.model.image_autoencoder import PaletteAutoencoder
from camss_ros.model.network import SegmentationNetwork
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.twin import Twin
from camss_ros.model.warm_start import FrameState

_log = logging.getLogger(__name__)

_KEPT_PLANS = 16


class TorchBackend(Backend):
    """Runs the stages of a `CamSeg`, or of its discriminative twin.

    Compiled, the stages are optimised once each, whatever the number of steps; where that fails
    the network runs eagerly, with one warning.

    Args:
        network: in evaluation mode; taken over, moved and cast.
    """

    def __init__(
        self,
        network: CamSeg | Twin,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
    ) -> None:
        self.name = "compile" if compiled else "torch"
        self.device, self.dtype = device, dtype
        _move(network, device, dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network: SegmentationNetwork = network
        self._camseg = network if isinstance(network, CamSeg) else None
        self._prepared: set[tuple[int, tuple[int, int]]] = set()
        self._plans: dict[SamplingOptions, Any] = {}
        self._denoiser = None if self._camseg is None else self._camseg.denoiser
        self._use_eager()
        if compiled:
            self._use_compiled()

    @torch.inference_mode()
    def predict(
        self,
        frames: Sequence[np.ndarray],
        sampling: SamplingOptions,
        size: tuple[int, int],
        generator: torch.Generator,
        stage_done: StageDone,
        states: Sequence[FrameState | None] | None = None,
    ) -> list[FramePrediction]:
        """See `Backend`. A twin draws no latents and leaves none."""
        network, plan = self._network, self._plan(sampling)
        if self._cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        pixels = torch.cat([self._resized(frame, size) for frame in frames])
        images = network.normalize(pixels).contiguous(memory_format=torch.channels_last)
        stage_done("preprocess")
        token_map = self._image_tokens(images)
        stage_done("tokens")
        left: Sequence[FrameState | None] = [None] * len(frames)
        if sampling.iterations == 1:
            condition = self._condition(token_map)
            stage_done("transformer")
            grid, before = token_map.shape[-2:], self._before(pixels, states, sampling.samples)
            latents = network.draw_from(condition, grid, plan, generator, same_noise=True, **before)
            if states and self._denoiser is not None:
                left = self._states(pixels, latents)
        else:
            stage_done("transformer")
            latents = network.draw_latents(token_map, plan, generator, same_noise=True)
        stage_done("sampling")
        probabilities = network.average_samples(self._decode(latents), sampling.samples)
        stage_done("decode")
        return [
            FramePrediction(each, state=state)
            for each, state in zip(probabilities.split(1), left, strict=True)
        ]

    @torch.inference_mode()
    def pooled_tokens(self, frame: np.ndarray, size: tuple[int, int]) -> Tensor:
        """See `Backend`."""
        image = self._network.normalize(self._resized(frame, size))
        tokens = self._image_tokens(image.contiguous(memory_format=torch.channels_last))
        return tokens[0].float().mean(dim=(1, 2))

    def _before(
        self, pixels: Tensor, given: Sequence[FrameState | None] | None, samples: int
    ) -> dict[str, Tensor]:
        """Arguments of `draw_from`: what the frames may begin from, if any of them may."""
        if not given or all(state is None for state in given):
            return {}
        height, width = pixels.shape[-2:]
        states = [state or self.blank_state(samples, (height, width)) for state in given]
        pictures = torch.stack([state.picture for state in states])
        steady_tokens = self._latent_network.steady_tokens
        return {
            "previous": torch.stack([state.latents for state in states], dim=1).flatten(0, 1),
            "steady": steady_tokens(steady_tokens.picture(pixels), pictures),
        }

    def _states(self, pixels: Tensor, latents: Tensor) -> list[FrameState]:
        """What each frame leaves for the next."""
        pictures = self._latent_network.steady_tokens.picture(pixels)
        by_frame = latents.unflatten(0, (-1, len(pixels))).unbind(1)
        return [FrameState(*each) for each in zip(by_frame, pictures, strict=True)]

    @property
    def _latent_network(self) -> CamSeg:
        """The network where it draws latents, which a twin does not."""
        assert self._camseg is not None
        return self._camseg

    def blank_state(self, samples: int, size: tuple[int, int]) -> FrameState:
        """Of no frame, at the working (height, width)."""
        network = self._latent_network
        return FrameState.blank(samples, network.latent_channels, size, network.stride, self.device)

    def _resized(self, frame: np.ndarray, size: tuple[int, int]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device)
        resized = resize_frame(pixels, size)
        # on a GPU float32 as soon as one is resized: a batch must be of one type
        return resized if self.device.type == "cpu" else resized.float()

    def draw_noise(
        self, sampling: SamplingOptions, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor | None:
        """The noise of one frame, from the generator as `predict` takes it; see `Sampler`."""
        network = self._latent_network
        stride = network.stride
        tokens = (size[0] // stride) * (size[1] // stride)
        shape = (sampling.samples, tokens, network.latent_channels)
        return self._plan(sampling).draw_noise(shape, self.device, generator)

    def steps(self, sampling: SamplingOptions) -> int:
        """Denoiser evaluations of a token that begins anew; none of a twin."""
        return self._plan(sampling).steps

    def prepare(self, sampling: SamplingOptions, size: tuple[int, int], batch: int = 1) -> None:
        """Segment a grey frame, compiled also in batches of every size; see `Backend`."""
        try:
            for count in range(1, (batch if self.name == "compile" else 1) + 1):
                self._run_once(sampling, size, count)
        except Exception as error:  # compilers fail in many ways
            if self.name != "compile":
                raise
            reason = str(error).strip().split("\n", 1)[0]
            _log.warning("torch.compile failed, the network runs eagerly: %s", reason)
            self._use_eager()
            self._run_once(sampling, size, 1)

    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """See `Backend`. The number of steps compiles nothing anew; shapes do."""
        return self.name != "compile" or (sampling.samples, size) in self._prepared

    def _run_once(self, sampling: SamplingOptions, size: tuple[int, int], count: int) -> None:
        grey = [np.full((*size, 3), 127, np.uint8)] * count
        self.predict(grey, sampling, size, torch.Generator(self.device), lambda _: None)
        self._prepared.add((sampling.samples, size))

    def _plan(self, sampling: SamplingOptions) -> Any:
        plan = self._plans.get(sampling)
        if plan is None:
            if len(self._plans) >= _KEPT_PLANS:
                self._plans.clear()
            plan = self._plans[sampling] = self._network.plan(sampling)
        return plan

    def _use_eager(self) -> None:
        network = self._network
        if self._camseg is not None and self._denoiser is not None:
            self._camseg.denoiser = self._denoiser
        self._image_tokens, self._condition = network.image_tokens, network.condition
        self._decode = network.decode
        self._cuda_graphs = False

    def _use_compiled(self) -> None:
        network = self._network
        self._cuda_graphs = self.device.type == "cuda"
        mode = "reduce-overhead" if self._cuda_graphs else "default"
        # the denoiser alone, not its loop: another number of steps compiles nothing
        if self._camseg is not None:
            self._camseg.denoiser = torch.compile(  # type: ignore[assignment]
                self._camseg.denoiser, mode=mode
            )
        self._image_tokens = torch.compile(network.image_tokens, mode=mode)
        self._condition = torch.compile(network.condition, mode=mode)
        self._decode = torch.compile(network.decode, mode=mode)


def _move(network: CamSeg | Twin, device: torch.device, dtype: torch.dtype) -> None:
    """Move and cast, all but what would overflow."""
    decoder = None
    if isinstance(network, CamSeg) and network.fast_decoder is None:
        decoder = network.mask_autoencoder
    if dtype == torch.float16 and isinstance(decoder, PaletteAutoencoder):
        cast_to_half(network.to(device), decoder)
    else:
        network.to(device=device, dtype=dtype)
