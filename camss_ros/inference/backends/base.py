"""What a backend is: it runs the network, from a frame to class probabilities and labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camss_ros.inference.frame_ops import Argmax, OutputSpec, render
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FrameState

BACKENDS = ("auto", "torch", "compile", "onnxruntime", "openvino", "tensorrt")

# Called with the name of a stage when it ends; may raise to give the frame up.
StageDone = Callable[[str], None]


class BackendUnavailableError(ValueError):
    """The backend cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class FramePrediction:
    """What the network says of a frame.

    Attributes:
        probabilities: [1, classes, h, w] float32 at the working size, or such in tiles
            (`model/tiles.py`).
        argmax: of them, where the backend knows them already.
        state: what the next frame of a clip may begin from; None without a warm start, or if the
            network draws no latents.
    """

    probabilities: Tensor
    argmax: Argmax | None = None
    state: FrameState | None = None


@dataclass(frozen=True)
class FrameResult:
    """A frame at the output size, in main memory and its own.

    Attributes:
        labels: uint8 [2, H, W]: class ids, then the winner's probability times 255.
        uncertainty: uint8 [H, W], where it was asked for; see `to_uncertainty`.
        state: as of `FramePrediction`.
    """

    labels: np.ndarray
    uncertainty: np.ndarray | None = None
    state: FrameState | None = None


@dataclass(frozen=True)
class BatchRequest:
    """Frames that go through the network together, and what is wanted of them.

    Attributes:
        frames: B of them, each uint8 [H, W, 3] RGB of any size of its own.
        sampling: how the latents of all of them are drawn.
        size: working (height, width), multiples of 16.
        generator: of the noise, which is the same for every frame; on the backend's device.
        outputs: one for each frame, for `Backend.segment`.
        stage_done: called at the end of preprocess and of what follows: tokens, transformer,
            sampling and decode, or network where they are one.
        states: where `sampling` has a warm start, what each frame may begin from, of as many
            samples and of the same working size; None if it begins anew.
    """

    frames: Sequence[np.ndarray]
    sampling: SamplingOptions
    size: tuple[int, int]
    generator: torch.Generator
    outputs: Sequence[OutputSpec] = ()
    stage_done: StageDone = lambda _: None
    states: Sequence[FrameState | None] | None = None


class Backend(ABC):
    """Runs one model on one device in one precision.

    A frame of a batch gets the same result as alone, up to the rounding of floats. What is wanted
    of it comes with each request; nothing of that is kept.

    Attributes:
        name: one of `BACKENDS`.
        device: where the probabilities are.
        dtype: of the network; latents are float32 always.
    """

    name: str
    device: torch.device
    dtype: torch.dtype

    @abstractmethod
    def predict(self, request: BatchRequest) -> list[FramePrediction]:
        """Run the network; returns one prediction for each frame, valid until the next call."""

    @torch.inference_mode()
    def segment(self, request: BatchRequest, classes: int) -> list[FrameResult]:
        """`predict`, and label images made of it on the device, one result for each frame.

        Args:
            classes: of the label set: a class more than these is void.
        """
        predictions = self.predict(request)
        on_device = [
            render(each.probabilities, output, classes, argmax=each.argmax)
            for each, output in zip(predictions, request.outputs, strict=True)
        ]
        # only here is the device waited for
        return [
            FrameResult(
                labels.cpu().numpy(), None if entropy is None else entropy.cpu().numpy(), each.state
            )
            for (labels, entropy), each in zip(on_device, predictions, strict=True)
        ]

    @abstractmethod
    def pooled_tokens(self, frame: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The image tokens of a frame, uint8 [H, W, 3] RGB, at the working (height, width),
        averaged over their places: float32 [C]."""

    @abstractmethod
    def prepare(self, sampling: SamplingOptions, size: tuple[int, int], batch: int = 1) -> None:
        """Do now, and wait for, all that makes the first frame with these slow, alone and in
        batches of up to `batch` frames."""

    @abstractmethod
    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """Whether a frame with these is quick: nothing has to be built or compiled for it."""

    def steps(self, sampling: SamplingOptions) -> int:
        """Denoiser evaluations of a token that begins anew."""
        return min(sampling.steps, sampling.start + 1)

    def release_memory(self) -> None:  # noqa: B027 -- most keep nothing
        """Free what is only kept for the next frame."""

    def close(self) -> None:
        """Free memory and end what runs in the background."""
        self.release_memory()
