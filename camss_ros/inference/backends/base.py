"""What a backend is: it runs the network, from a frame to class probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camss_ros.model.schedule import SamplingOptions

BACKENDS = ("auto", "torch", "compile", "onnxruntime", "openvino", "tensorrt")

# Called with the name of a stage when it ends; may raise to give the frame up.
StageDone = Callable[[str], None]


class BackendUnavailableError(ValueError):
    """The backend cannot run here; the message says why and what to do."""


@dataclass
class Carry:
    """What goes from a frame of a clip to the next: one for each frame of a batch.

    Attributes:
        latents: [samples, C, h, w] float32 that the frame begins from, or None; afterwards those
            that it has drawn, or None if the network draws none.
    """

    latents: Tensor | None = None


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
    def probabilities(
        self,
        frames: Sequence[np.ndarray],
        sampling: SamplingOptions,
        generator: torch.Generator,
        stage_done: StageDone,
        carries: Sequence[Carry] | None = None,
    ) -> Tensor:
        """Segment a batch of frames.

        Args:
            frames: B of them, each uint8 [H, W, 3] RGB of any size of its own.
            generator: of the noise, which is the same for every frame; on `device`.
            stage_done: told of preprocess and of what comes after it: tokens, transformer,
                sampling and decode, or network where they are one.
            carries: of the clip of each frame, either all with latents or none. These must be of
                as many samples and of the same working size.

        Returns:
            [B, classes, h, w] float32 class probabilities at the working size.
        """

    @abstractmethod
    def prepare(self, sampling: SamplingOptions, batch: int = 1) -> None:
        """Do now, and wait for, all that makes the first frame with `sampling` slow, alone and
        in batches of up to `batch` frames."""

    @abstractmethod
    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """Whether a frame with these is quick: nothing has to be built or compiled for it."""

    def steps(self, sampling: SamplingOptions) -> int:
        """Denoiser evaluations of a token."""
        return min(sampling.steps, sampling.start + 1)

    def close(self) -> None:  # noqa: B027 -- most have nothing to end
        """Free memory and end what runs in the background."""
