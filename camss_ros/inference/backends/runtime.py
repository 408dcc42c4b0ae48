"""What a runtime of exported graphs is."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# inputs by name -> outputs in the order of `GraphSpec.outputs`, all on the runtime's device; a
# runtime may use the outputs' memory again
Graph = Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]


class Runtime(ABC):
    """Runs ONNX graphs on one device in one precision.

    Attributes:
        name: of the backend.
        device: of the tensors that go in and out.
        dtype: in which the network computes; int8: its convolutions and matrix products.
        suffix: of the file that a compiled graph is kept in; None if it is not kept.
    """

    name: str
    device: torch.device
    dtype: torch.dtype
    suffix: str | None = None

    @property
    def float_dtype(self) -> torch.dtype:
        """Of what does not compute in int8, and of PyTorch in place of a graph."""
        return self.dtype

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
