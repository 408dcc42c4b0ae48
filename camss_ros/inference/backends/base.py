"""What a backend is: it runs the network, from a frame to class probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camss_ros.inference.frame_ops import Winners
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FrameState

BACKENDS = ("auto", "torch", "compile", "onnxruntime", "openvino", "tensorrt")

# Called with the name of a stage when it ends; may raise to give the frame up.
StageDone = Callable[[str], None]


class BackendUnavailableError(ValueError):
    """The backend cannot run here; the message says why and what to do."""


@dataclass
class Carry:
    """What goes from a frame of a clip to the next: one for each frame of a batch.

    Attributes:
        state: what the frame may begin from, or None; afterwards what it leaves for the next, or
            None if the network draws no latents.
    """

    state: FrameState | None = None


@dataclass(frozen=True)
class FramePrediction:
    """What the network says of a frame.

    Attributes:
        probabilities: [1, classes, h, w] float32 at the working size.
        winners: of them, where the backend knows them already.
    """

    probabilities: Tensor
    winners: Winners | None = None


class Backend(ABC):
    """Runs one model on one device in one precision.

    A frame of a batch gets the same result as alone, up to the rounding of floats.

    Attributes:
        name: one of `BACKENDS`.
        device: where the probabilities are.
        dtype: of the network; latents are float32 always.
        size: working (height, width), which may change between frames.
    """

    name: str
    size: tuple[int, int]
    device: torch.device
    dtype: torch.dtype

    @abstractmethod
    def predict(
        self,
        frames: Sequence[np.ndarray],
        sampling: SamplingOptions,
        generator: torch.Generator,
        stage_done: StageDone,
        carries: Sequence[Carry] | None = None,
    ) -> list[FramePrediction]:
        """Segment a batch of frames.

        Args:
            frames: B of them, each uint8 [H, W, 3] RGB of any size of its own.
            generator: of the noise, which is the same for every frame; on `device`.
            stage_done: told of preprocess and of what comes after it: tokens, transformer,
                sampling and decode, or network where they are one.
            carries: of the clip of each frame, where `sampling` has a warm start. A state must be
                of as many samples and of the same working size.

        Returns:
            One for each frame, valid until the next call.
        """

    @abstractmethod
    def prepare(self, sampling: SamplingOptions, batch: int = 1) -> None:
        """Do now, and wait for, all that makes the first frame with `sampling` slow, alone and
        in batches of up to `batch` frames."""

    @abstractmethod
    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """Whether a frame with these is quick: nothing has to be built or compiled for it."""

    def steps(self, sampling: SamplingOptions) -> int:
        """Denoiser evaluations of a token that begins anew."""
        return min(sampling.steps, sampling.start + 1)

    def close(self) -> None:  # noqa: B027 -- most have nothing to end
        """Free memory and end what runs in the background."""
