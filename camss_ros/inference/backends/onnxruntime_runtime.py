"""ONNX Runtime: float32 on a CPU; its TensorRT and CUDA providers on a GPU (unverified)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camss_ros.extras import pip_install
from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.backends.runtime import Graph, Runtime, import_runtime
from camss_ros.inference.graphs.cache import cache_directory

_TENSORRT, _CUDA, _CPU = (f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU"))


class OnnxRuntime(Runtime):
    """See the module.

    Raises:
        BackendUnavailableError: not installed, or without a provider for the device.
        ValueError: a precision that it does not have on the device.
    """

    name = "onnxruntime"

    def __init__(self, device: torch.device, precision: str) -> None:
        package = "onnxruntime-gpu" if device.type == "cuda" else "onnxruntime"
        self._module = import_runtime("onnxruntime", pip_install("onnx", package))
        self.device = device
        available = self._module.get_available_providers()
        self._providers: list[Any] = [_CPU]
        if device.type == "cuda":
            self._providers = self._gpu_providers(available, precision)
        elif precision not in ("auto", "fp32"):
            raise ValueError(f"backend onnxruntime computes in fp32 on a CPU, not in {precision}")
        half = device.type == "cuda" and precision == "fp16"
        self.dtype = self.float_dtype = torch.float16 if half else torch.float32

    def _gpu_providers(self, available: list[str], precision: str) -> list[Any]:
        if _CUDA not in available:
            raise BackendUnavailableError(
                f"this onnxruntime ({self._module.__version__}) has no CUDA provider: install "
                "onnxruntime-gpu in its place"
            )
        number = self.device.index or 0
        providers: list[Any] = [(_CUDA, {"device_id": number}), _CPU]
        if precision in ("auto", "fp32"):
            return providers
        if precision != "fp16" or _TENSORRT not in available:
            raise ValueError(
                f"backend onnxruntime has precision {precision} on a GPU only as fp16 with its "
                "TensorRT provider: use precision fp32"
            )
        options = {
            "device_id": number,
            "trt_fp16_enable": True,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(cache_directory() / "onnxruntime-tensorrt"),
        }
        return [(_TENSORRT, options), *providers]

    def metadata(self) -> dict[str, Any]:
        """See `Runtime`."""
        return {"version": self._module.__version__, "providers": self._providers}

    def load(self, graph: Path) -> Graph:
        """See `Runtime`.

        Raises:
            BackendUnavailableError: a provider that cannot start.
        """
        options = self._module.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        session = self._module.InferenceSession(
            str(graph), options, providers=self._providers, enable_fallback=0
        )
        # One that cannot load its libraries is listed as available, and left out without an error.
        running = session.get_providers()
        for provider in self._providers:
            name = provider if isinstance(provider, str) else provider[0]
            if name not in running:
                raise BackendUnavailableError(
                    f"onnxruntime {self._module.__version__} cannot start {name}, for want of the "
                    "libraries that it is built for (CUDA, cuDNN, TensorRT; stderr names them)"
                )

        def run(inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            outputs = session.run(None, {name: each.cpu().numpy() for name, each in inputs.items()})
            return tuple(torch.from_numpy(each).to(self.device) for each in outputs)

        return run
