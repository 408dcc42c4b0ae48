"""The machine that a number was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

import camss_ros
from camss_ros.inference.device import describe_device

_PACKAGES = ("torch", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What times depend on beside the program, as JSON values; the same for every run on it.

    `cpus`: that this process may use. `threads`: that PyTorch and the graph runtimes use.
    """
    return {
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "device": describe_device(device),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "camss_ros": camss_ros.__version__,
        **{name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def load_average() -> float:
    """Processes that want to run, on average over the last minute: above zero, others are at work
    and times are longer than they need be."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
