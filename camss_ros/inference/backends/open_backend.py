"""A backend by its name."""

from __future__ import annotations

from pathlib import Path

import torch

from camss_ros.inference.backends.base import BACKENDS, Backend
from camss_ros.inference.backends.graph_backend import GraphBackend
from camss_ros.inference.backends.open_runtime import open_runtime
from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.device import select_dtype
from camss_ros.inference.graphs.calibration import CalibrationFrames
from camss_ros.model.checkpoint import load_camseg, load_network
from camss_ros.model.fold import fold_batch_norms


def open_backend(
    name: str,
    model: Path,
    device: torch.device,
    precision: str,
    calibration: CalibrationFrames | None = None,
    captured: bool = True,
) -> Backend:
    """A backend by name, other than "auto".

    Args:
        model: directory of the model.
        calibration: what precision int8 takes the ranges of values from.
        captured: on a GPU, PyTorch runs a whole frame as one CUDA graph.

    Raises:
        ValueError: no such backend, a precision that it does not have, or int8 without calibration.
        BackendUnavailableError: it is not installed or does not run on the device.
        ModelError: the model cannot be read.
    """
    _check_name(name)
    if name in ("torch", "compile"):
        dtype = select_dtype(precision, device)
        network = load_network(model, inference_only=True)
        fold_batch_norms(network)
        captured = captured and device.type == "cuda"
        return TorchBackend(network, device, dtype, name == "compile", captured)

    runtime = open_runtime(name, device, precision)
    if runtime.dtype != torch.int8:
        calibration = None
    elif calibration is None:
        raise ValueError(
            "precision int8 needs frames to calibrate on: pass the segmenter "
            "calibration=CalibrationScenes() of camss_ros.street.calibration_scenes, or your own"
        )
    fallback = TorchBackend(load_camseg(model), device, runtime.float_dtype)
    return GraphBackend(runtime, model, fallback, calibration)


def backend_dtype(name: str, device: torch.device, precision: str) -> torch.dtype:
    """What a backend computes in; no model is loaded for it.

    Raises:
        ValueError: as of `open_backend`.
    """
    _check_name(name)
    if name in ("torch", "compile"):
        return select_dtype(precision, device)
    return open_runtime(name, device, precision).dtype


def _check_name(name: str) -> None:
    if name not in BACKENDS or name == "auto":
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {name!r}")
