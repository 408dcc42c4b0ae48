"""Time of every stage of a segmenter, its memory, and the share of the machine it gets out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.images.encodings import image_to_rgb
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import ENCODING, camera_images, street_frames
from camss_ros.lab.machine import describe_machine, describe_segmenter, load_average
from camss_ros.model.config import CamSegConfig, TwinConfig
from camss_ros.model.flops import count_macs
from camss_ros.resident_memory import resident_bytes

_PICTURES = 8
_WARM_UP = 5  # frames

# stage of a segmenter -> stages of `count_macs`
_COUNTED = {
    "tokens": ("image_tokens",),
    "transformer": ("transformer",),
    "sampling": ("denoiser",),
    "decode": ("mask_decoder",),
    "network": ("image_tokens", "transformer", "denoiser", "mask_decoder"),
}


def time_frames(
    segmenter: Segmenter,
    frames: Sequence[np.ndarray],
    count: int,
    on_frame: Callable[[int], None] = lambda done: None,
) -> tuple[list[float], dict[str, list[float]]]:
    """Segment frames that come as messages of a camera.

    A frame ends with the download of its labels, which waits for a GPU, so that the host's clock
    measures all of it; events on the GPU measure the stages within.

    Args:
        frames: uint8 [H, W, 3] RGB, taken round and round.
        count: how many are segmented.
        on_frame: told the frames done.

    Returns:
        Seconds of each frame, in order: from the message to the label image, on the host's clock,
        and by stage: `convert`, the stages of `Segmentation.timings` and their `total`.
    """
    images = camera_images(frames)
    stages: defaultdict[str, list[float]] = defaultdict(list)
    whole = []
    for index in range(count):
        start = time.perf_counter()
        image = image_to_rgb(images[index % len(images)])
        converted = time.perf_counter()
        result = segmenter.segment(image)
        whole.append(time.perf_counter() - start)
        stages["convert"].append(converted - start)
        for stage, seconds in result.timings.items():
            stages[stage].append(seconds)
        on_frame(index + 1)
    return whole, stages


def measure_segmenter(
    segmenter: Segmenter,
    config: CamSegConfig | TwinConfig,
    frame_size: tuple[int, int],
    count: int,
    on_frame: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Everything about a segmenter alone, as JSON values.

    Args:
        config: of its network, to count multiply-accumulates; those of a twin are left out.
        frame_size: (height, width) of the frames.
        count: frames that are timed, after some that are not.
    """
    load = load_average()
    frames = street_frames(frame_size, _PICTURES)
    segmenter.warm_up(*frame_size)
    time_frames(segmenter, frames, _WARM_UP)
    reset_peak(segmenter.device)
    whole, times = time_frames(segmenter, frames, count, on_frame)
    peaks = peak_memory(segmenter.device)
    stages = {stage: milliseconds(seconds) for stage, seconds in times.items()}
    return {
        "model": segmenter.model_name,
        **describe_segmenter(segmenter),
        "sampling": asdict(segmenter.sampling),
        "working_size": list(segmenter.input_size),
        "frame_size": list(frame_size),
        "encoding": ENCODING,
        "frames": count,
        "stages_ms": stages,
        "whole_ms": milliseconds(whole),
        "peak_memory": peaks,
        **_work(segmenter, config, stages),
        "machine": describe_machine(segmenter.device),
        "load_average": load,
    }


def _work(
    segmenter: Segmenter,
    config: CamSegConfig | TwinConfig,
    stages: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """GMAC of each stage, and what share of the fastest matrix product their speed is.

    There is no such product to compare int8 with: in PyTorch it is a slow one.
    """
    peak = None
    if segmenter.dtype != torch.int8:
        peak = matmul_peak(segmenter.device, segmenter.dtype)
    gflops = None if peak is None else peak / 1e9
    if not isinstance(config, CamSegConfig) or segmenter.sampling.iterations != 1:
        return {"gmac": None, "matmul_peak_gflops": gflops, "share_of_matmul_peak": None}
    macs = count_macs(config, segmenter.sampling, segmenter.input_size)
    total = sum(macs.values())
    counted = {stage: sum(macs[part] for part in parts) for stage, parts in _COUNTED.items()}
    counted["total"] = total
    return {
        "gmac": {**{part: count / 1e9 for part, count in macs.items()}, "total": total / 1e9},
        "matmul_peak_gflops": gflops,
        "share_of_matmul_peak": peak
        and {
            stage: 2 * counted[stage] / (times["p50"] / 1e3) / peak
            for stage, times in stages.items()
            if stage in counted
        },
    }


def reset_peak(device: torch.device) -> None:
    """From now on peaks are those of what follows."""
    # 5: the highest resident size becomes the present one (man 5 proc)
    Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """`resident_mb` of the process and, on a GPU, `cuda_mb` of PyTorch's tensors there."""
    peaks = {"resident_mb": resident_bytes(peak=True) / 1e6}
    if device.type == "cuda":
        peaks["cuda_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peaks


_PRODUCTS = 10
_WARM_UP_PRODUCTS = 2


@torch.inference_mode()
def matmul_peak(device: torch.device, dtype: torch.dtype, side: int | None = None) -> float:
    """Floating-point operations a second of the fastest of a few square products.

    Args:
        side: of the matrices; by default large enough to be bound by computing.
    """
    side = side or (8192 if device.type == "cuda" else 2048)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty(side, side, device=device, dtype=dtype)
    timer = Timer(
        "torch.mm(left, right, out=product)",
        globals={"torch": torch, "left": left, "right": right, "product": product},
        num_threads=torch.get_num_threads(),
    )  # which waits for the current GPU
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        timer.timeit(_WARM_UP_PRODUCTS)
        return 2 * side**3 / min(timer.timeit(1).mean for _ in range(_PRODUCTS))
