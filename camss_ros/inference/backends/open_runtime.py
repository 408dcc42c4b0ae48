"""A runtime of exported graphs by its name."""

from __future__ import annotations

import torch

from camss_ros.inference.backends.runtime import Runtime


def open_runtime(name: str, device: torch.device, precision: str) -> Runtime:
    """The runtime of "onnxruntime", "openvino" or "tensorrt"; each is imported when asked for.

    Raises:
        ValueError: as of `open_backend`.
    """
    if name == "onnxruntime":
        from camss_ros.inference.backends.onnxruntime_runtime import OnnxRuntime

        return OnnxRuntime(device, precision)
    if name == "openvino":
        from camss_ros.inference.backends.openvino_runtime import OpenVino

        return OpenVino(device, precision)
    from camss_ros.inference.backends.tensorrt_runtime import TensorRt

    return TensorRt(device, precision)
