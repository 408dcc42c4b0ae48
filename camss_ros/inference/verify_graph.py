"""Does an exported graph give the labels that PyTorch gives?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.export import GraphSpec
from camss_ros.inference.frame_ops import resize_frame, to_labels
from camss_ros.model.camseg import CamSeg
from camss_ros.model.schedule import SamplingOptions

if TYPE_CHECKING:
    from camss_ros.inference.backends.graph_backend import Graph

# Share of the pixels with equal labels: in float32, and in fewer bits against float32.
LIMITS = {torch.float32: 0.999, torch.bfloat16: 0.995, torch.float16: 0.995, torch.int8: 0.985}


@dataclass(frozen=True)
class GraphVerification:
    """How well a graph does.

    Attributes:
        frames: compared.
        agreement: share of the pixels with the labels of PyTorch in float32.
        confidence_error: mean absolute difference of the confidences, 0 to 255.
        limit: what the agreement must not fall below.
    """

    frames: int
    agreement: float
    confidence_error: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the agreement is enough."""
        return self.agreement >= self.limit

    def __str__(self) -> str:
        return (
            f"{100 * self.agreement:.3f} % of the labels of {self.frames} frames as in PyTorch "
            f"float32 (at least {100 * self.limit:g} % wanted), confidence off by "
            f"{self.confidence_error:.2f} of 255"
        )


def verify_graph(
    network: CamSeg,
    spec: GraphSpec,
    sampling: SamplingOptions,
    graph: Graph,
    dtype: torch.dtype,
    frames: Iterable[np.ndarray],
) -> GraphVerification:
    """Run a graph and PyTorch on the same frames and noise.

    Args:
        network: in float32 on the CPU.
        spec: what the graph was made for. One of probabilities is compared at its own size.
        sampling: with the temperature to verify at.
        graph: on the CPU or a GPU.
        dtype: in which the graph computes.
        frames: uint8 [H, W, 3] RGB each, at least one.
    """
    output_size = spec.output_size or spec.size
    backend = TorchBackend(network, spec.size, torch.device("cpu"), torch.float32)
    void_last = network.config.void_color is not None
    equal = error = count = 0.0
    number = 0
    for number, frame in enumerate(frames, start=1):
        generator = torch.Generator().manual_seed(number)
        probabilities = backend.probabilities([frame], sampling, generator, lambda _: None)
        expected = to_labels(probabilities, output_size, void_last)
        noise = backend.draw_noise(sampling, torch.Generator().manual_seed(number))
        resized = resize_frame(torch.from_numpy(frame), spec.size)[0].permute(1, 2, 0).contiguous()
        outputs = graph(resized, noise)
        if spec.output_size is None:
            found = to_labels(outputs[0][None], output_size, void_last)
            outputs = (found[0], found[1])
        labels, confidence = (each.cpu() for each in outputs)
        equal += float((labels == expected[0]).sum())
        error += float((confidence.float() - expected[1].float()).abs().sum())
        count += labels.numel()
    return GraphVerification(number, equal / count, error / count, LIMITS[dtype])
