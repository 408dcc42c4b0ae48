"""OpenVINO on a CPU: bfloat16 where the processor computes in it, or float32."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.backends.graph_backend import Graph, Runtime

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVino(Runtime):
    """See the module.

    Raises:
        BackendUnavailableError: not installed, or the device is no CPU.
        ValueError: a precision that it does not have.
    """

    name = "openvino"
    suffix = ".blob"

    def __init__(self, device: torch.device, precision: str) -> None:
        if device.type != "cpu":
            raise BackendUnavailableError(f"backend openvino runs on device cpu, not on {device}")
        try:
            import openvino
        except ImportError as error:
            raise BackendUnavailableError(
                "backend openvino is not installed: pip install onnx openvino"
            ) from error
        self._version = openvino.__version__
        self._core = openvino.Core()
        self.device = device
        native = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"backend openvino computes in fp32 or bf16, not in {precision}")
        if precision == "bf16" and not native:
            raise ValueError("this processor has no bf16: use precision fp32 with openvino")
        half = precision == "bf16" or (precision == "auto" and native)
        self.dtype = torch.bfloat16 if half else torch.float32

    def facts(self) -> dict[str, Any]:
        """See `Runtime`."""
        return {
            "version": self._version,
            "processor": self._core.get_property("CPU", "FULL_DEVICE_NAME"),
            "options": self._options(),
        }

    def _options(self) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": _HINTS[self.dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }

    def compile(self, graph: Path, compiled: Path) -> None:
        """See `Runtime`."""
        model = self._core.compile_model(self._core.read_model(graph), "CPU", self._options())
        content = io.BytesIO()
        model.export_model(content)
        compiled.write_bytes(content.getbuffer())

    def load(self, graph: Path) -> Graph:
        """See `Runtime`."""
        content = io.BytesIO(graph.read_bytes())
        request = self._core.import_model(content, "CPU", self._options()).create_infer_request()

        def run(frame: Tensor, noise: Tensor | None) -> tuple[Tensor, ...]:
            inputs = {"frame": frame.numpy()}
            if noise is not None:
                inputs["noise"] = noise.numpy()
            # a view of the request's own memory, which the next frame overwrites
            outputs = request.infer(inputs, share_inputs=True, share_outputs=True)
            return tuple(torch.from_numpy(outputs[index]) for index in range(len(outputs)))

        return run
