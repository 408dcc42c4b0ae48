"""A graph of the whole network in a runtime, built for the sampling options that are in use."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from camss_ros.inference.backends.base import Backend, BatchRequest, FramePrediction
from camss_ros.inference.backends.build_graph import cached_graph, from_cache, model_hash
from camss_ros.inference.backends.runtime import Graph, Runtime, graph_inputs
from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.beside import Beside, BesideError
from camss_ros.inference.frame_ops import Argmax
from camss_ros.inference.graphs.cache import cache_key, cached_file
from camss_ros.inference.graphs.calibration import CalibrationFrames, calibration_file
from camss_ros.inference.graphs.export import ExportError, GraphSpec
from camss_ros.inference.latency_budget import MAX_SETTINGS
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FrameState

_log = logging.getLogger(__name__)

# those of all settings under a latency budget, and one more
_KEPT_GRAPHS = MAX_SETTINGS + 1


class GraphBackend(Backend):
    """Runs the network as one graph.

    A graph fits one set of sampling options. The first is built by `prepare` or before the first
    frame; when the options change, the next one is built in the background, and until it is ready
    frames go through `fallback`. The last few stay loaded, the files of all in the cache. A graph
    takes one frame: those of a batch run one after the other.

    Args:
        runtime: what runs the graphs.
        model: directory of the model.
        fallback: the same network in PyTorch, on the same device.
        calibration: for a runtime in int8.

    Raises:
        OSError, ModelError: as of `model_hash`.
    """

    def __init__(
        self,
        runtime: Runtime,
        model: Path,
        fallback: TorchBackend,
        calibration: CalibrationFrames | None = None,
    ) -> None:
        self.name, self.device, self.dtype = runtime.name, runtime.device, runtime.dtype
        self._runtime = runtime
        self._model = model
        self._hash = model_hash(model)
        self._fallback = fallback
        self._calibration = calibration
        self._graphs: dict[GraphSpec, Graph] = {}
        self._failed: set[GraphSpec] = set()
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="graph-builder")
        self._building: Future[None] | None = None
        self._exporter: Beside | None = None
        self._lock = threading.Lock()
        self._closed = False

    def predict(self, request: BatchRequest) -> list[FramePrediction]:
        """See `Backend`."""
        frames, sampling, size = request.frames, request.sampling, request.size
        graph = self._graph(sampling, size)
        if graph is None:
            return self._fallback.predict(request)
        predictions = []
        with torch.inference_mode():
            noise = self._fallback.draw_noise(sampling, size, request.generator)
            for place, frame in enumerate(frames):
                state = request.states[place] if request.states else None
                if sampling.warm_start_time and state is None:
                    state = self._fallback.blank_state(sampling.samples, size)
                inputs = graph_inputs(frame, size, self.device, noise, state)
                request.stage_done("preprocess")
                outputs = graph(inputs)
                if len(frames) > 1:
                    outputs = tuple(each.clone() for each in outputs)
                probabilities, argmax, likelihood, *left = outputs
                predictions.append(
                    FramePrediction(
                        probabilities[None],
                        Argmax(argmax, likelihood),
                        FrameState(*(each.clone() for each in left)) if left else None,
                    )
                )
                request.stage_done("network")
        return predictions

    def pooled_tokens(self, frame: np.ndarray, size: tuple[int, int]) -> Tensor:
        """See `Backend`: float32 [C]; of PyTorch, since a graph keeps its tokens to itself."""
        return self._fallback.pooled_tokens(frame, size)

    def prepare(self, sampling: SamplingOptions, size: tuple[int, int], batch: int = 1) -> None:
        """Build and load the graph and run it once; a batch needs nothing more.

        Raises:
            ExportError: it cannot be built.
        """
        if not _has_graph(sampling):
            self._fallback.prepare(sampling, size, batch)
            return
        spec = GraphSpec(size, sampling)
        if self._building is not None:
            self._building.result()
        if spec not in self._graphs:
            self._keep(spec, self._load(spec, self._export_here))
        grey = np.full((*size, 3), 127, np.uint8)
        self.predict(BatchRequest([grey], sampling, size, torch.Generator(self.device)))

    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """See `Backend`."""
        return not _has_graph(sampling) or GraphSpec(size, sampling) in self._graphs

    def close(self) -> None:
        """See `Backend`."""
        with self._lock:
            self._closed = True
            if self._exporter is not None:
                self._exporter.close()
        self._builder.shutdown(wait=False, cancel_futures=True)
        self._graphs.clear()
        self._fallback.close()

    def _graph(self, sampling: SamplingOptions, size: tuple[int, int]) -> Graph | None:
        """The graph for the options, or None while PyTorch has to do."""
        if not _has_graph(sampling):
            return None
        spec = GraphSpec(size, sampling)
        graph = self._graphs.get(spec)
        if graph is not None or spec in self._failed:
            return graph
        if not self._graphs:
            self.prepare(sampling, size)
            return self._graphs[spec]
        if self._building is None or self._building.done():
            _log.info(
                "building the %s graph for steps %d, sampler %s, samples %d; PyTorch until then",
                self.name, sampling.steps, sampling.sampler, sampling.samples,
            )  # fmt: skip
            self._building = self._builder.submit(self._build, spec)
        return None

    def _build(self, spec: GraphSpec) -> None:
        try:
            self._keep(spec, self._load(spec, self._export_beside))
            _log.info("the %s graph is ready", self.name)
        except Exception as error:  # whatever it is, PyTorch goes on
            self._failed.add(spec)
            if not self._closed:
                _log.warning("no %s graph for these options, PyTorch does: %s", self.name, error)

    def _keep(self, spec: GraphSpec, graph: Graph) -> None:
        # a new dictionary: the inference thread reads the old one meanwhile
        kept = dict(list(self._graphs.items())[-(_KEPT_GRAPHS - 1) :])
        self._graphs = {**kept, spec: graph}

    def _load(self, spec: GraphSpec, export: Callable[[GraphSpec], Path]) -> Graph:
        runtime = self._runtime

        def exported() -> Path:
            return export(spec)

        if runtime.suffix is None:
            return from_cache(exported, runtime.load)
        metadata = {
            "model": self._hash,
            "spec": spec.metadata(),
            "runtime": runtime.metadata(),
            "dtype": str(runtime.dtype),
            "calibration": self._calibration and self._calibration.name,
        }
        name = f"{runtime.name}-{cache_key(metadata)}{runtime.suffix}"

        def compile_to(path: Path) -> None:
            from_cache(exported, lambda graph: runtime.compile(graph, path))

        return from_cache(lambda: cached_file(name, compile_to), runtime.load)

    def _export_here(self, spec: GraphSpec) -> Path:
        if self._calibration is None:
            return cached_graph(self._model, self._hash, spec)
        _log.info("an int8 graph is calibrated: up to a minute, if the cache does not have it")
        # what quantizes is large, and prints: it stays out of this process
        return self._export_beside(spec, niceness=0)

    def _export_beside(self, spec: GraphSpec, niceness: int = 10) -> Path:
        """Export in a process of its own: tracing holds Python's lock for seconds."""
        arguments = [str(self._model), self._hash, json.dumps(spec.metadata()), str(niceness)]
        if self._calibration is not None:
            arguments.append(str(calibration_file(self._calibration)))
        with self._lock:
            if self._closed:
                raise ExportError("the segmenter was closed")
            self._exporter = Beside("camss_ros.inference.backends.build_graph", *arguments)
        try:
            return Path(self._exporter.result())
        except BesideError as error:
            raise ExportError(str(error)) from error


def _has_graph(sampling: SamplingOptions) -> bool:
    """A graph decodes in one pass."""
    return sampling.iterations == 1
