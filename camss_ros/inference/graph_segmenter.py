"""An exported graph of labels as what segments frames, to be scored like any other."""

from __future__ import annotations

import time

import numpy as np
import torch

from camss_ros.images.label_class import LabelClass
from camss_ros.images.nearest import resize_nearest
from camss_ros.inference.backends.runtime import Graph, graph_inputs
from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.graphs.export import GraphSpec
from camss_ros.inference.segmenter import Segmentation
from camss_ros.model.camseg import CamSeg
from camss_ros.model.schedule import SamplingOptions


class GraphSegmenter:
    """Runs a graph of `export_onnx` with an output size and without a warm start.

    Args:
        network: that the graph was made of, which draws the noise.
        spec: what it was made for.
        sampling: with the temperature.
        graph: on the CPU or a GPU.
    """

    def __init__(
        self, network: CamSeg, spec: GraphSpec, sampling: SamplingOptions, graph: Graph
    ) -> None:
        self.classes: tuple[LabelClass, ...] = network.config.label_set
        self.model_name = network.config.name
        self._spec, self._sampling, self._graph = spec, sampling, graph
        self._noise = TorchBackend(network, torch.device("cpu"), torch.float32).draw_noise

    def segment(self, image: np.ndarray) -> Segmentation:
        """Labels and confidence of uint8 [H, W, 3] RGB, at its size, by the nearest pixel."""
        begun = time.perf_counter()
        noise = self._noise(self._sampling, self._spec.size, torch.Generator().manual_seed(0))
        inputs = graph_inputs(image, self._spec.size, torch.device("cpu"), noise)
        labels, confidence = (
            resize_nearest(output.cpu().numpy(), image.shape[:2]) for output in self._graph(inputs)
        )
        timings = {"total": time.perf_counter() - begun}
        return Segmentation(labels, confidence, timings, self._sampling.steps)
