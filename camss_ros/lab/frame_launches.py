"""What a frame makes the processor do for its device, and where the time goes, by PyTorch's
profiler."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import street_frames

# Operators that compute nothing: memory, and other views of it.
_NO_WORK = {
    "empty", "empty_strided", "empty_like", "as_strided", "view", "_unsafe_view", "reshape",
    "_reshape_alias", "expand", "permute", "transpose", "unsqueeze", "squeeze", "select", "slice",
    "narrow", "split", "unbind", "chunk", "unflatten", "flatten", "t", "detach", "alias",
    "resolve_conj", "resolve_neg", "result_type", "lift_fresh", "set_", "resize_",
}  # fmt: skip
# Calls of the CUDA runtime and driver, by the beginning of their names.
_CALLS = {
    "cudaGraphLaunch": "graph launches",
    "cudaLaunchKernel": "kernel launches",
    "cuLaunchKernel": "kernel launches",
    "cudaMemcpyAsync": "copies",
    "cudaMemsetAsync": "fills",
    "cudaStreamSynchronize": "waits",
    "cudaEventSynchronize": "waits",
    "cudaDeviceSynchronize": "waits",
}
# What the device reports of its copies.
_COPIES = {"Memcpy HtoD": "uploads", "Memcpy DtoH": "downloads"}

_WARM_UP = 3  # frames
_LONGEST = 12  # operations that are told

KINDS = ("operators", *dict.fromkeys([*_CALLS.values(), *_COPIES.values()]))


def measure_calls(open_segmenter: Callable[[bool], Segmenter]) -> dict[str, dict[str, int]]:
    """Of a frame without a CUDA graph, and on a GPU also with one.

    Args:
        open_segmenter: told whether frames are captured, as `Segmenter`.
    """
    rows = {}
    for name, captured in (("operation by operation", False), ("one graph", True)):
        segmenter = open_segmenter(captured)
        if captured and segmenter.device.type != "cuda":
            break
        (frame,) = street_frames(segmenter.input_size, 1)
        rows[name] = count_calls(segmenter, frame)
        segmenter.close()
    return rows


def count_calls(segmenter: Segmenter, frame: np.ndarray) -> dict[str, int]:
    """Of one frame, uint8 [H, W, 3] RGB, by `KINDS`; all but the operators are 0 on a CPU."""
    events = _profiled(segmenter, frame).events()
    assert events is not None
    nested = {event.name for event in events if event.name.startswith("aten::")}
    leaves = [
        event.name
        for event in events
        if not any(child.name in nested for child in event.cpu_children)
    ]
    return count_names(leaves)


def longest_operations(segmenter: Segmenter, frame: np.ndarray) -> list[dict[str, Any]]:
    """What takes the most time of one frame that is launched operation by operation.

    Args:
        segmenter: whose frames are not captured.
        frame: uint8 [H, W, 3] RGB.

    Returns:
        `name`, number of `calls` and `ms` together: of the kernels and copies of a GPU, or on a CPU
        of the operators, each without those that it is made of; the longest first.
    """
    kind = DeviceType.CUDA if segmenter.device.type == "cuda" else DeviceType.CPU
    rows = [
        {
            "name": each.key,
            "calls": each.count,
            "ms": each.self_device_time_total / 1e3
            if kind == DeviceType.CUDA
            else each.self_cpu_time_total / 1e3,
        }
        for each in _profiled(segmenter, frame).key_averages()
        if each.device_type == kind
    ]
    return sorted(rows, key=lambda row: -row["ms"])[:_LONGEST]


@torch.inference_mode()
def _profiled(segmenter: Segmenter, frame: np.ndarray) -> profile:
    """One frame, after what happens once for all of them."""
    for _ in range(_WARM_UP):
        segmenter.segment(frame)
    # the profiler's library tells of its own start and stop, on stderr
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [ProfilerActivity.CPU]
    if segmenter.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        segmenter.segment(frame)
    return profiler


def count_names(names: Iterable[str]) -> dict[str, int]:
    """Events of a profile by `KINDS`.

    Args:
        names: of all but the operators that others are made of.
    """
    counts = Counter(kind for name in names if (kind := _kind(name)) is not None)
    return {kind: counts[kind] for kind in KINDS}


def _kind(name: str) -> str | None:
    if name.startswith("aten::"):
        return None if name.removeprefix("aten::") in _NO_WORK else "operators"
    for beginning, kind in {**_CALLS, **_COPIES}.items():
        if name.startswith(beginning):
            return kind
    return None
