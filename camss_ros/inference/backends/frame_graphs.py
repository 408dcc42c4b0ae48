"""A whole frame as one CUDA graph: one upload, one launch and one download, whatever the network.

Launching its operations one by one takes a processor longer than they take a GPU. A graph is
captured once, with all sizes, and replayed on the same memory; see "CUDA Graphs" in PyTorch's
notes on CUDA semantics, whose rules each step here follows.

Nothing of the next frame is uploaded while one is in work: the newest image is taken when the last
result is out, and what came before it is dropped.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from camss_ros.inference.backends.base import BatchRequest, FrameResult
from camss_ros.inference.frame_ops import OutputSpec
from camss_ros.inference.latency_budget import MAX_SETTINGS
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FAR, FrameState

_log = logging.getLogger(__name__)

# of all settings under a latency budget, each for a frame that begins anew and one that continues
_KEPT = 2 * MAX_SETTINGS

# Held while a frame is captured, and by what waits for all of a GPU, as compiling does: that is not
# allowed while any thread captures, in no mode of capture, and fails both. PyTorch allows one
# capture at a time in a process; a model may be loaded beside the one in use.
capturing = threading.Lock()

States = Sequence["FrameState | None"]
# (uint8 [H, W, 3] of each frame, on the device; generator; states or None) -> all images that are
# wanted, uint8, flat, one after the other; and what each frame leaves
Compute = Callable[
    [Sequence[Tensor], torch.Generator, "States | None"],
    "tuple[Tensor, Sequence[FrameState | None]]",
]
# (samples, (height, width) of the network) -> a state of no frame, on the device
BlankState = Callable[[int, "tuple[int, int]"], FrameState]


@functools.cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """The one that all graphs of a GPU are captured in, as those of `torch.cuda.graph` by default.

    cuBLAS keeps memory for each stream that it has computed in, 32 MiB on a Hopper GPU, for ever.
    """
    return torch.cuda.Stream(device)


class FrameKind(NamedTuple):
    """What is the same of all batches that one graph serves.

    Attributes:
        shapes: (height, width) of each frame.
        continues: None without a warm start; else whether any of the frames may begin from the one
            before, as the network then samples both ways.
    """

    shapes: tuple[tuple[int, int], ...]
    outputs: tuple[OutputSpec, ...]
    sampling: SamplingOptions
    size: tuple[int, int]
    continues: bool | None

    @classmethod
    def of(cls, request: BatchRequest) -> FrameKind:
        """The kind of the frames of a request."""
        shapes = tuple((frame.shape[0], frame.shape[1]) for frame in request.frames)
        states = request.states
        continues = None if states is None else any(state is not None for state in states)
        return cls(shapes, tuple(request.outputs), request.sampling, request.size, continues)


class FrameGraphs:
    """Graphs of the kinds of frames that came last, `_KEPT` at most.

    A kind is captured when it comes for the second time while it is remembered: its first frame
    runs operation by operation, which also does what must not happen within a capture (compiling,
    choosing algorithms). So a folder of pictures of all sizes captures nothing, and a camera does
    at its second frame, or at a later one where `capturing` is held. The frame's own size is part
    of the kind: resizing is in the graph.

    All graphs share the memory of their intermediate values, and are replayed in any order. They
    may: one runs at a time, none reads what another has left there, and what has to outlive a
    replay is copied out before the next one, or was never in there.

    Where a capture fails, frames run operation by operation from then on, with one warning.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known: dict[FrameKind, FrameGraph | None] = {}  # the last one is the newest
        self._failed = False
        self._stream = _capture_stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        # of their own: a generator that a graph has drawn from belongs to it
        self._generator = torch.Generator(device)

    def find(self, kind: FrameKind, compute: Compute, blank_state: BlankState) -> FrameGraph | None:
        """The graph for frames of a kind; None where they have to run without."""
        if self._failed:
            return None
        remembered = kind in self._known
        graph = self._known.pop(kind, None)
        if remembered and graph is None and capturing.acquire(blocking=False):
            try:
                graph = self._capture(kind, compute, blank_state)
            finally:
                capturing.release()
            if graph is None:
                return None
        self._known[kind] = graph
        if len(self._known) > _KEPT:
            self._forget(next(iter(self._known)))
        return graph

    def clear(self) -> None:
        """Free all graphs and their memory."""
        for kind in list(self._known):
            self._forget(kind)

    def _forget(self, kind: FrameKind) -> None:
        if self._known[kind] is not None:
            # A frame that was given up may still run. Not all of the device is waited for, where
            # another thread may be capturing.
            torch.cuda.current_stream(self._device).synchronize()
        del self._known[kind]

    def _capture(
        self, kind: FrameKind, compute: Compute, blank_state: BlankState
    ) -> FrameGraph | None:
        try:
            current = torch.cuda.current_stream(self._device)
            # Entered first, as PyTorch leaves the capture's stream current where one fails.
            with torch.cuda.device(self._device), torch.cuda.stream(current):
                states: States | None = None
                if kind.continues is not None:
                    states = [
                        blank_state(kind.sampling.samples, kind.size) if kind.continues else None
                        for _ in kind.shapes
                    ]
                return FrameGraph(
                    kind, compute, states, self._device, self._generator, self._stream, self._pool
                )
        except Exception as error:  # an operation that cannot be captured, or no memory
            self._failed = True
            self.clear()
            self._end_capture()
            cause: BaseException = error
            if "previous error during capture" in str(error):  # of the end, which says less
                cause = error.__context__ or error
            reason = (str(cause).strip() or repr(cause)).split("\n", 1)[0]
            _log.warning("no CUDA graph of a frame, its operations run one by one: %s", reason)
            return None

    def _end_capture(self) -> None:
        """Tell that a failed capture is over, which PyTorch before 2.12 does not.

        Otherwise its allocator gives nothing back to the GPU any more (its pull request 180395),
        and nothing can be drawn any more from the GPU's default generator, which is of every graph.
        """
        with torch.cuda.device(self._device):
            number = torch.cuda.current_device()
            with suppress(AttributeError, RuntimeError):  # not there, or not needed
                torch._C._cuda_endAllocateToPool(number, self._pool)
            default = torch.cuda.default_generators[number]
            default.graphsafe_set_state(default.clone_state())  # which is in no capture


class FrameGraph:
    """A captured batch of frames with the memory that it reads and writes.

    Args:
        states: static ones, that `segment` fills, for the frames of a kind that continues.
        generator: what the graph draws from.
        stream: to capture in, not the current one.
        pool: memory for intermediate values.
    """

    def __init__(
        self,
        kind: FrameKind,
        compute: Compute,
        states: States | None,
        device: torch.device,
        generator: torch.Generator,
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self._kind, self._device, self._generator = kind, device, generator
        # What it holds (weights, time embeddings) is read at every replay.
        self._compute = compute
        self._states = states
        lengths = [height * width * 3 for height, width in kind.shapes]
        # Pinned: only from and to such memory is a copy asynchronous. Allocated before the capture,
        # within which that is not allowed, and in no pool, where other graphs would write.
        pinned = device.type == "cuda"
        staged = torch.empty(sum(lengths), dtype=torch.uint8, device="cpu", pin_memory=pinned)
        uploaded = torch.empty(sum(lengths), dtype=torch.uint8, device=device)
        self._staged, self._uploaded = staged.split(lengths), uploaded.split(lengths)
        inputs = [
            part.view(height, width, 3)
            for part, (height, width) in zip(self._uploaded, kind.shapes, strict=True)
        ]
        uploaded.fill_(127)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            # what libraries set up for a stream at first use must be there before the capture
            length = compute(inputs, generator, states)[0].numel()
        torch.cuda.current_stream(device).wait_stream(stream)
        self._downloaded = torch.empty(length, dtype=torch.uint8, device="cpu", pin_memory=pinned)
        self._done = torch.cuda.Event()
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        # thread_local: what another thread does with the GPU meanwhile, such as to load a model,
        # is its own business
        with torch.cuda.graph(
            self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"
        ):
            self._result, self._left = compute(inputs, generator, states)

    def segment(self, request: BatchRequest) -> list[FrameResult]:
        """As of `Backend`, for frames of the graph's kind."""
        with torch.cuda.device(self._device):
            buffers = zip(request.frames, self._staged, self._uploaded, strict=True)
            for frame, staged, uploaded in buffers:
                # The copy of one frame goes on while the next one of the batch is staged. What was
                # staged for the last batch was read, or the batch was given up.
                np.copyto(staged.numpy().reshape(frame.shape), frame)
                uploaded.copy_(staged, non_blocking=True)
            if self._kind.continues:
                self._fill_states(request.states or [])
            request.stage_done("preprocess")
            # at each replay the graph begins where its generator is, as an eager frame would
            self._generator.set_state(request.generator.get_state())
            self._graph.replay()
            # the next replay overwrites what this one leaves
            left = [
                None if each is None else FrameState(each.latents.clone(), each.picture.clone())
                for each in self._left
            ]
            request.stage_done("network")
            self._downloaded.copy_(self._result, non_blocking=True)
            self._done.record()
            self._done.synchronize()
        return self._results(left)

    def _fill_states(self, states: States) -> None:
        for own, given in zip(self._states or [], states, strict=True):
            assert own is not None
            if given is None:  # nothing is steady then, so that the latents do not matter
                own.picture.fill_(FAR)
            else:
                own.latents.copy_(given.latents)
                own.picture.copy_(given.picture)

    def _results(self, left: States) -> list[FrameResult]:
        """In memory of their own: the next frame is downloaded to the same place."""
        images = self._downloaded.numpy().copy()
        results, start = [], 0
        for (size, uncertainty), state in zip(self._kind.outputs, left, strict=True):
            pixels = size[0] * size[1]
            planes = images[start : start + (3 if uncertainty else 2) * pixels].reshape(-1, *size)
            start += planes.size
            results.append(FrameResult(planes[:2], planes[2] if uncertainty else None, state))
        return results
