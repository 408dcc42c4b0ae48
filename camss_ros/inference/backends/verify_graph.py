"""Does an exported graph give the labels that PyTorch gives?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camss_ros.inference.backends.base import BatchRequest
from camss_ros.inference.backends.runtime import Graph, graph_inputs
from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.frame_ops import Argmax, to_labels
from camss_ros.inference.graphs.export import GraphSpec
from camss_ros.model.camseg import CamSeg
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FrameState

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
    """Run a graph and PyTorch on the same frames and noise; with a warm start each frame follows
    itself, so that it is compared both ways.

    Args:
        network: in float32 on the CPU.
        spec: what the graph was made for. One of probabilities is compared at its own size.
        sampling: with the temperature to verify at.
        graph: on the CPU or a GPU.
        dtype: in which the graph computes.
        frames: uint8 [H, W, 3] RGB each, at least one.
    """
    output_size = spec.output_size or spec.size
    backend = TorchBackend(network, torch.device("cpu"), torch.float32)
    void_last = network.config.void_color is not None
    equal = error = count = 0.0
    number = 0
    for number, frame in enumerate(frames, start=1):
        noise = backend.draw_noise(sampling, spec.size, torch.Generator().manual_seed(number))
        expected_state = state = None
        if sampling.warm_start_time:
            state = backend.blank_state(sampling.samples, spec.size)
        for _ in range(2 if sampling.warm_start_time else 1):
            inputs = graph_inputs(frame, spec.size, backend.device, noise, state)
            generator = torch.Generator().manual_seed(number)
            request = BatchRequest([frame], sampling, spec.size, generator, states=[expected_state])
            [prediction] = backend.predict(request)
            expected_state = prediction.state
            expected = to_labels(prediction.probabilities, output_size, void_last)
            outputs = dict(zip(spec.outputs, graph(inputs), strict=True))
            if sampling.warm_start_time:
                state = FrameState(*(outputs[name].clone() for name in FrameState._fields))
            labels, confidence = _labels(outputs, output_size, void_last)
            equal += float((labels == expected[0]).sum())
            error += float((confidence.float() - expected[1].float()).abs().sum())
            count += labels.numel()
    return GraphVerification(number, equal / count, error / count, LIMITS[dtype])


def _labels(
    outputs: Mapping[str, Tensor], size: tuple[int, int], void_last: bool
) -> tuple[Tensor, Tensor]:
    """Labels and confidence of a graph's outputs."""
    if "labels" in outputs:
        return outputs["labels"].cpu(), outputs["confidence"].cpu()
    argmax = Argmax(outputs["argmax"], outputs["likelihood"])
    found = to_labels(outputs["probabilities"][None], size, void_last, argmax=argmax).cpu()
    return found[0], found[1]
