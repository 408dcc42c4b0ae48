"""PyTorch, stage by stage: eager, or each stage compiled by `torch.compile`; on a GPU the whole
frame as one CUDA graph."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camss_ros.inference.backends.base import Backend, BatchRequest, FramePrediction, FrameResult
from camss_ros.inference.backends.frame_graphs import FrameGraphs, FrameKind, capturing
from camss_ros.inference.compile_cache import silence_known_warnings, use_compile_cache
from camss_ros.inference.decoder_precision import cast_to_half
from camss_ros.inference.frame_ops import render, resize_frame, upload_frame
from camss_ros.inference.memory import is_out_of_memory
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
        captured: on a GPU, a whole frame is one CUDA graph; see `FrameGraphs`.
    """

    def __init__(
        self,
        network: CamSeg | Twin,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
        captured: bool = False,
    ) -> None:
        self.name = "compile" if compiled else "torch"
        self.device, self.dtype = device, dtype
        _move(network, device, dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network: SegmentationNetwork = network
        self._camseg = network if isinstance(network, CamSeg) else None
        self._prepared: set[tuple[int, tuple[int, int]]] = set()
        self._plans: dict[SamplingOptions, Any] = {}
        self._graphs = FrameGraphs(device) if captured else None
        self._compiled_files: Path | None = None
        self._denoiser = None if self._camseg is None else self._camseg.denoiser
        self._use_eager()
        if compiled:
            self._use_compiled()

    @torch.inference_mode()
    def predict(self, request: BatchRequest) -> list[FramePrediction]:
        """See `Backend`. A twin draws no latents and leaves none."""
        uploaded = [upload_frame(each, self.device) for each in request.frames]
        probabilities, left = self._run(uploaded, self._plan(request.sampling), request)
        return [
            FramePrediction(each, state=state)
            for each, state in zip(probabilities.split(1), left, strict=True)
        ]

    @torch.inference_mode()
    def segment(self, request: BatchRequest, classes: int) -> list[FrameResult]:
        """See `Backend`; where `FrameGraphs` has a graph, its only stage is `network`."""
        if not self.is_prepared(request.sampling, request.size):
            self.prepare(request.sampling, request.size)  # which goes on where a compiler fails
        if self._graphs is not None:
            kind, plan = FrameKind.of(request), self._plan(request.sampling)
            compute = functools.partial(self._whole_frame, kind, classes, plan)
            graph = self._graphs.find(kind, compute, self.blank_state)
            if graph is not None:
                return graph.segment(request)
        return super().segment(request, classes)

    def _whole_frame(
        self,
        kind: FrameKind,
        classes: int,
        plan: Any,
        frames: Sequence[Tensor],
        generator: torch.Generator,
        states: Sequence[FrameState | None] | None,
    ) -> tuple[Tensor, Sequence[FrameState | None]]:
        """What `FrameGraph` captures."""
        request = BatchRequest((), kind.sampling, kind.size, generator, states=states)
        probabilities, left = self._run(frames, plan, request)
        images = []
        for each, output in zip(probabilities.split(1), kind.outputs, strict=True):
            rendered = render(each, output, classes, traced=True)
            images += [image.flatten() for image in rendered if image is not None]
        return torch.cat(images), left

    def _run(
        self, frames: Sequence[Tensor], plan: Any, request: BatchRequest
    ) -> tuple[Tensor, Sequence[FrameState | None]]:
        """The stages, on the frames of a request, which are on the device already.

        Returns:
            Class probabilities of B frames as in `FramePrediction`, and what each frame leaves.
        """
        network, sampling, size = self._network, request.sampling, request.size
        generator, stage_done, states = request.generator, request.stage_done, request.states
        pixels = torch.cat([self._resized(frame, size) for frame in frames])
        images = network.normalize(pixels).contiguous(memory_format=torch.channels_last)
        stage_done("preprocess")
        token_map = self._image_tokens(images)
        stage_done("tokens")
        left: Sequence[FrameState | None] = [None] * len(frames)
        if sampling.iterations == 1:
            condition = self._condition(token_map)
            stage_done("transformer")
            grid, before, pictures = token_map.shape[-2:], {}, None
            if states and self._camseg is not None:
                pictures = self._camseg.steady_tokens.picture(pixels)
                before = self._before(pictures, size, states, sampling.samples)
            latents = network.draw_from(condition, grid, plan, generator, same_noise=True, **before)
            if pictures is not None:
                by_frame = latents.unflatten(0, (-1, len(frames))).unbind(1)
                left = [FrameState(*each) for each in zip(by_frame, pictures, strict=True)]
        else:
            stage_done("transformer")
            latents = network.draw_latents(token_map, plan, generator, same_noise=True)
        stage_done("sampling")
        probabilities = network.average_samples(self._decode(latents), sampling.samples)
        stage_done("decode")
        return probabilities, left

    @torch.inference_mode()
    def pooled_tokens(self, frame: np.ndarray, size: tuple[int, int]) -> Tensor:
        """See `Backend`. Eagerly: compiling it for another size than the frames' takes a minute, in
        which a node would stand still."""
        image = self._network.normalize(self._resized(upload_frame(frame, self.device), size))
        tokens = self._network.image_tokens(image.contiguous(memory_format=torch.channels_last))
        return tokens[0].float().mean(dim=(1, 2))

    def _before(
        self,
        pictures: Tensor,
        size: tuple[int, int],
        given: Sequence[FrameState | None],
        samples: int,
    ) -> dict[str, Tensor]:
        """Arguments of `draw_from`: what the frames may begin from, if any of them may."""
        if all(state is None for state in given):
            return {}
        states = [state or self.blank_state(samples, size) for state in given]
        earlier = torch.stack([state.picture for state in states])
        return {
            "previous": torch.stack([state.latents for state in states], dim=1).flatten(0, 1),
            "steady": self._latent_network.steady_tokens(pictures, earlier),
        }

    @property
    def _latent_network(self) -> CamSeg:
        """The network where it draws latents, which a twin does not."""
        assert self._camseg is not None
        return self._camseg

    def blank_state(self, samples: int, size: tuple[int, int]) -> FrameState:
        """Of no frame, at the working (height, width)."""
        network = self._latent_network
        return FrameState.blank(samples, network.latent_channels, size, network.stride, self.device)

    def _resized(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        resized = resize_frame(pixels, size)
        # on a GPU float32 as soon as one is resized: a batch must be of one type
        return resized if self.device.type == "cpu" else resized.float()

    def draw_noise(
        self, sampling: SamplingOptions, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor | None:
        """The noise of one frame, from the generator as `predict` takes it.

        Args:
            size: working (height, width).

        Returns:
            [noise_count, samples, tokens, latent_channels] float32, as of `Sampler.draw_noise`;
            None where none is drawn.
        """
        network = self._latent_network
        stride = network.stride
        tokens = (size[0] // stride) * (size[1] // stride)
        shape = (sampling.samples, tokens, network.latent_channels)
        return self._plan(sampling).draw_noise(shape, self.device, generator)

    def steps(self, sampling: SamplingOptions) -> int:
        """Denoiser evaluations of a token that begins anew; none of a twin."""
        return self._plan(sampling).steps

    def prepare(self, sampling: SamplingOptions, size: tuple[int, int], batch: int = 1) -> None:
        """Segment a grey frame, compiled also in batches of every size; see `Backend`.

        Raises:
            RuntimeError: PyTorch cannot run the network, as without enough memory.
        """
        compiles = not self.is_prepared(sampling, size)
        start = time.monotonic()
        if compiles:
            _log.info(
                "compiling the network for %d x %d: a minute or two, less where %s has it already",
                size[1], size[0], self._compiled_files,
            )  # fmt: skip
        try:
            with capturing if compiles else nullcontext():
                for count in range(1, (batch if self.name == "compile" else 1) + 1):
                    self._run_once(sampling, size, count)
        except Exception as error:  # compilers fail in many ways
            # a lack of memory, once something is compiled, is that of the frame
            if self.name != "compile" or (self._prepared and is_out_of_memory(error)):
                raise
            reason = str(error).strip().split("\n", 1)[0]
            _log.warning("torch.compile failed, the network runs eagerly: %s", reason)
            self._use_eager()
            self._run_once(sampling, size, 1)
        else:
            if compiles:
                _log.info("compiled in %.0f s", time.monotonic() - start)

    def release_memory(self) -> None:
        """See `Backend`."""
        if self._graphs is not None:
            self._graphs.clear()

    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """See `Backend`. The number of steps compiles nothing anew; shapes do."""
        return self.name != "compile" or (sampling.samples, size) in self._prepared

    def _run_once(self, sampling: SamplingOptions, size: tuple[int, int], count: int) -> None:
        grey = [np.full((*size, 3), 127, np.uint8)] * count
        self.predict(BatchRequest(grey, sampling, size, torch.Generator(self.device)))
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
        # a GPU resizes all probabilities, and needs them as an image for that
        self._decode = network.decode_tiled if self.device.type == "cpu" else network.decode
        self.release_memory()

    def _use_compiled(self) -> None:
        network = self._network
        self._compiled_files = use_compile_cache(self.device)
        silence_known_warnings()
        # Without `torch.compile`'s own CUDA graphs: `FrameGraphs` captures all of it as one.
        # The denoiser alone, not its loop: another number of steps compiles nothing
        if self._camseg is not None:
            self._camseg.denoiser = torch.compile(self._camseg.denoiser)  # type: ignore[assignment]
        tokens = torch.compile(network.image_tokens)

        def image_tokens(images: Tensor) -> Tensor:
            # At a second size Dynamo would take sides for variables: the tokenizer's padding makes
            # terms of them that double with each stride, and it never ends.
            torch._dynamo.mark_static(images, [2, 3])
            return tokens(images)

        self._image_tokens = image_tokens
        self._condition = torch.compile(network.condition)
        self._decode = torch.compile(self._decode)


def _move(network: CamSeg | Twin, device: torch.device, dtype: torch.dtype) -> None:
    """Move and cast, all but what would overflow."""
    decoder = None
    if isinstance(network, CamSeg) and network.fast_decoder is None:
        decoder = network.mask_autoencoder
    if dtype == torch.float16 and isinstance(decoder, PaletteAutoencoder):
        cast_to_half(network.to(device), decoder)
    else:
        network.to(device=device, dtype=dtype)
