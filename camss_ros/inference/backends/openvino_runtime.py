"""OpenVINO on a CPU: bfloat16 where the processor computes in it, or float32, or int8 and these."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camss_ros.extras import pip_install
from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.backends.runtime import Graph, Runtime, import_runtime
from camss_ros.inference.graphs.quantize import read_archive

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVino(Runtime):
    """See the module.

    Raises:
        BackendUnavailableError: it, or for int8 nncf, is not installed, or the device is no CPU.
        ValueError: a precision that it or the processor does not have.
    """

    name = "openvino"
    suffix = ".blob"

    def __init__(self, device: torch.device, precision: str) -> None:
        if device.type != "cpu":
            raise BackendUnavailableError(f"backend openvino runs on device cpu, not on {device}")
        openvino = import_runtime("openvino", pip_install("onnx", "openvino"))
        self._version = openvino.__version__
        self._core = openvino.Core()
        self.device = device
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        native = "BF16" in capabilities
        if precision not in ("auto", "fp32", "bf16", "int8"):
            raise ValueError(f"backend openvino computes in fp32, bf16 or int8, not in {precision}")
        if precision == "int8":
            _check_int8(capabilities)
        if precision == "bf16" and not native:
            raise ValueError("this processor has no bf16: use precision fp32 with openvino")
        half = native and precision != "fp32"
        self.float_dtype = torch.bfloat16 if half else torch.float32
        self.dtype = torch.int8 if precision == "int8" else self.float_dtype

    def metadata(self) -> dict[str, Any]:
        """See `Runtime`."""
        return {
            "version": self._version,
            "processor": self._core.get_property("CPU", "FULL_DEVICE_NAME"),
            "options": self._options(),
        }

    def _options(self) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": _HINTS[self.float_dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            # fixed to processors, the threads of two networks would share the first ones
            "ENABLE_CPU_PINNING": False,
        }

    def compile(self, graph: Path, compiled: Path) -> None:
        """See `Runtime`."""
        is_archive = graph.suffix == ".zip"
        read = read_archive(self._core, graph) if is_archive else self._core.read_model(graph)
        model = self._core.compile_model(read, "CPU", self._options())
        content = io.BytesIO()
        model.export_model(content)
        compiled.write_bytes(content.getbuffer())

    def load(self, graph: Path) -> Graph:
        """See `Runtime`."""
        content = io.BytesIO(graph.read_bytes())
        request = self._core.import_model(content, "CPU", self._options()).create_infer_request()

        def run(inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            given = {name: each.numpy() for name, each in inputs.items()}
            # a view of the request's own memory, which the next frame overwrites
            outputs = request.infer(given, share_inputs=True, share_outputs=True)
            return tuple(torch.from_numpy(outputs[index]) for index in range(len(outputs)))

        return run


def _check_int8(capabilities: Sequence[str]) -> None:
    if "INT8" not in capabilities:
        raise ValueError("this processor has no int8: use precision auto with openvino")
    if importlib.util.find_spec("nncf") is None:
        raise BackendUnavailableError(
            f"precision int8 needs the Python package nncf: {pip_install('nncf')}"
        )
