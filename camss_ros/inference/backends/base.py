"""What a backend is: it runs the network, from a frame to class probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
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
    """What goes from a frame of a clip to the next.

    Attributes:
        latents: [samples, C, h, w] float32 that the frame begins from, or None; afterwards those
            that it has drawn, or None if the network draws none.
    """

    latents: Tensor | None = None


class Backend(ABC):
    """Runs one model on one device in one precision.

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
        frame: np.ndarray,
        sampling: SamplingOptions,
        generator: torch.Generator,
        stage_done: StageDone,
        carry: Carry | None = None,
    ) -> Tensor:
        """Segment a frame.

        Args:
            frame: uint8 [H, W, 3] RGB of any size.
            generator: of the noise, on `device`.
            stage_done: told of preprocess and of what comes after it: tokens, transformer,
                sampling and decode, or network where they are one.
            carry: of a clip. Its latents must be of as many samples and of the same working size.

        Returns:
            [1, classes, h, w] float32 class probabilities at the working size.
        """

    @abstractmethod
    def prepare(self, sampling: SamplingOptions) -> None:
        """Do now, and wait for, all that makes the first frame with `sampling` slow."""

    @abstractmethod
    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """Whether a frame with these is quick: nothing has to be built or compiled for it."""

    def steps(self, sampling: SamplingOptions) -> int:
        """Denoiser evaluations of a token."""
        return min(sampling.steps, sampling.start + 1)

    def close(self) -> None:  # noqa: B027 -- most have nothing to end
        """Free memory and end what runs in the background."""
