"""What a runtime of exported graphs is."""

from __future__ import annotations

import importlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camss_ros.extras import without_telemetry
from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.frame_ops import resize_frame, upload_frame
from camss_ros.model.warm_start import FrameState

# inputs by name -> outputs in the order of `GraphSpec.outputs`, all on the runtime's device; a
# runtime may use the outputs' memory again
Graph = Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]


def graph_inputs(
    frame: np.ndarray,
    size: tuple[int, int],
    device: torch.device,
    noise: Tensor | None,
    state: FrameState | None = None,
) -> dict[str, Tensor]:
    """The inputs of a graph, by name.

    Args:
        frame: uint8 [H, W, 3] RGB, resized to (height, width).
        device: where the inputs are to be.
        noise: as of `TorchBackend.draw_noise`.
        state: what the frame before left; None without a warm start.
    """
    resized = resize_frame(upload_frame(frame, device), size)[0].permute(1, 2, 0)
    if resized.dtype != torch.uint8:
        resized = resized.round_().to(torch.uint8)
    inputs = {"frame": resized.contiguous()}
    if noise is not None:
        inputs["noise"] = noise
    return inputs if state is None else {**inputs, **state._asdict()}


class Runtime(ABC):
    """Runs ONNX graphs on one device in one precision.

    Attributes:
        name: of the backend.
        device: of the tensors that go in and out.
        dtype: in which the network computes; int8: its convolutions and matrix products.
        float_dtype: of what does not compute in int8, and of PyTorch in place of a graph.
        suffix: of the file that a compiled graph is kept in; None if it is not kept.
    """

    name: str
    device: torch.device
    dtype: torch.dtype
    float_dtype: torch.dtype
    suffix: str | None = None

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """JSON values on which a compiled graph depends: versions, hardware."""

    @abstractmethod
    def load(self, graph: Path) -> Graph:
        """Make an ONNX graph, or with a `suffix` its compiled file, ready to run."""

    def compile(self, graph: Path, compiled: Path) -> None:
        """Write the compiled form of an ONNX graph; for runtimes with a `suffix`."""
        raise NotImplementedError

    def open(self, graph: Path) -> Graph:
        """Make an ONNX graph ready to run, and keep no file."""
        if self.suffix is None:
            return self.load(graph)
        with tempfile.TemporaryDirectory() as folder:
            compiled = Path(folder) / f"graph{self.suffix}"
            self.compile(graph, compiled)
            return self.load(compiled)


def import_runtime(name: str, install: str) -> Any:
    """The Python package of a backend.

    Raises:
        BackendUnavailableError: it is not there or broken; says how to `install` it.
    """
    try:
        with without_telemetry():
            module = importlib.import_module(name)
        if not hasattr(module, "__version__"):
            raise ImportError("a folder is left of it, and no package")
    except Exception as error:  # whatever a broken one raises
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        why = "is not installed" if missing else f"cannot be imported ({error})"
        raise BackendUnavailableError(f"backend {name} {why}: {install}") from error
    return module
