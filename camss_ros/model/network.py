"""The stages that every segmentation network has, generative or discriminative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from camss_ros.model.schedule import SamplingOptions


class SegmentationNetwork(Protocol):
    """What `CamSeg` and `Twin` share; `CamSeg` says what the stages take and give.

    What `plan` returns is the network's own, and goes back to it as it is.
    """

    @property
    def stride(self) -> int: ...

    def normalize(self, images: Tensor, /) -> Tensor: ...

    def image_tokens(self, images: Tensor, /) -> Tensor: ...

    def condition(self, token_map: Tensor, /) -> Tensor: ...

    def plan(self, options: SamplingOptions, /) -> Any: ...

    def draw_from(
        self,
        condition: Tensor,
        grid: Sequence[int],
        plan: Any,
        generator: torch.Generator | None = None,
        *,
        previous: Tensor | None = None,
        steady: Tensor | None = None,
        same_noise: bool = False,
    ) -> Tensor: ...

    def draw_latents(
        self,
        token_map: Tensor,
        plan: Any,
        generator: torch.Generator | None = None,
        same_noise: bool = False,
    ) -> Tensor: ...

    def decode(self, latents: Tensor, /) -> Tensor: ...

    def average_samples(self, probabilities: Tensor, samples: int, /) -> Tensor: ...
