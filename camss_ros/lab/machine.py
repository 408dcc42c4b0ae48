"""The machine that a number was measured on."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

import camss_ros
from camss_ros.extras import versions
from camss_ros.inference.device import cpu_info_fields, describe_device
from camss_ros.inference.segmenter import Segmenter

_PACKAGES = ("torch", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What times depend on beside the program, as JSON values; the same for every run on it.

    `cpus`: that this process may use. `threads`: that PyTorch and the graph runtimes use.
    """
    return {
        "processor": next(iter(cpu_info_fields("model name")), platform.machine()),
        "cpus": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "device": describe_device(device),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "camss_ros": camss_ros.__version__,
        **versions(*_PACKAGES),
    }


def describe_segmenter(segmenter: Segmenter) -> dict[str, str]:
    """What an open segmenter computes by and in, as JSON values."""
    return {
        "backend": segmenter.backend,
        "dtype": str(segmenter.dtype).removeprefix("torch."),
    }


def load_average() -> float:
    """Processes that want to run, on average over the last minute: above zero, others are at work
    and times are longer than they need be."""
    return round(os.getloadavg()[0], 2)
