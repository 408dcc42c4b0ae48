"""What is measured on a GPU, part by part, each in a process of its own that may be ended.

`python -m camss_ros.lab.gpu_parts KEY SETTINGS` measures one part and prints it as JSON.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.images.frames import open_frames
from camss_ros.inference.beside import kept_warnings
from camss_ros.inference.device import select_device
from camss_ros.inference.network_size import can_resize
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frame_launches import longest_operations, measure_calls
from camss_ros.lab.frames import street_frames
from camss_ros.lab.official_section import compare_with_official
from camss_ros.lab.random_weights import random_weights
from camss_ros.lab.segmenter_speed import measure_segmenter, peak_memory, reset_peak
from camss_ros.model.checkpoint import find_config, find_model
from camss_ros.model.schedule import SamplingOptions
from camss_ros.termination import exit_on_signals

PRECISIONS = ("fp32", "bf16", "fp16")
_BASE_STEPS = 4  # as `camss-ros study speed` takes
_WARM_UP = 3  # frames or batches: one launched, one captured, one replayed


@dataclass(frozen=True)
class GpuSettings:
    """What is measured.

    Attributes:
        model: the small one, with its weights.
        size: working (height, width) of the small one, if it is not bound to its own.
        base: the large one, with random weights.
        device: as of `select_device`.
        input: frames to compare labels on, as of `open_frames`; None for the synthetic street.
        label_frames: so many of them.
        timed_frames: of each measurement of time.
        largest_batch: frames of a batch at the most.
        official_turns: frames of the official procedure.
    """

    model: str = "camss-tiny"
    size: tuple[int, int] = (352, 480)
    base: str = "cam-seg-base"
    device: str = "cuda"
    input: str | None = None
    label_frames: int = 8
    timed_frames: int = 100
    largest_batch: int = 8
    official_turns: int = 2

    def open(self, large: Path | None = None, **options: Any) -> Segmenter:
        """The small model, if no large one is given; `options` as of `Segmenter`."""
        if large is not None:
            steps = SamplingOptions(steps=_BASE_STEPS)
            return Segmenter(large, device=self.device, sampling=steps, **options)
        resizes = can_resize(find_config(self.model))
        size = (self.size[0], self.size[1]) if resizes else None
        return Segmenter(self.model, **{"device": self.device, "network_size": size, **options})


@dataclass(frozen=True)
class Part:
    """Something to measure.

    Attributes:
        title: on the page.
        least: seconds below which it is not begun; guessed from single times on an H100, where
            `torch.compile` took 30 s for the small model and 60 s for the large one.
        measure: gives JSON values.
    """

    title: str
    least: float
    measure: Callable[[GpuSettings], dict[str, Any]]


def _labels(
    settings: GpuSettings, backend: str, precisions: Sequence[str] = PRECISIONS
) -> dict[str, Any]:
    """Share of pixels with the labels of the CPU in float32, in each precision."""
    reference = settings.open(device="cpu", precision="fp32")
    frames = _frames(settings, reference.input_size)
    expected = [reference.segment(frame).labels for frame in frames]
    rows = {}
    for precision in precisions:
        segmenter = settings.open(precision=precision, backend=backend)
        segmenter.warm_up(*frames[0].shape[:2])
        # twice, so that every frame is also one of a captured graph
        shares = [
            float((segmenter.segment(frame).labels == labels).mean())
            for _ in range(2)
            for frame, labels in zip(frames, expected, strict=True)
        ]
        rows[precision] = {"mean": float(np.mean(shares)), "min": min(shares)}
        segmenter.close()
    return {"backend": backend, "frames": len(frames), "agreement": rows}


def _frames(settings: GpuSettings, size: tuple[int, int]) -> list[np.ndarray]:
    if settings.input is None:
        return street_frames(size, settings.label_frames)
    source = open_frames(settings.input)
    return [frame.image for frame in itertools.islice(source, settings.label_frames)]


def _times(
    settings: GpuSettings, backend: str, large: Path | None = None, official: bool = False
) -> dict[str, Any]:
    """Stage by stage, what takes longest in them, then a whole frame as one graph."""
    rows: dict[str, Any] = {}
    config = find_config(large or settings.model)
    for name, captured in (("stages", False), ("whole", True)):
        segmenter = settings.open(large, backend=backend, captured=captured)
        rows[name] = measure_segmenter(
            segmenter, config, segmenter.input_size, settings.timed_frames
        )
        if not captured:
            (frame,) = street_frames(segmenter.input_size, 1)
            rows["longest"] = longest_operations(segmenter, frame)
        elif large is not None and official:
            rows["official"] = compare_with_official(segmenter, large, settings.official_turns)
        segmenter.close()
    return rows


def _base_times(
    settings: GpuSettings, backend: str, fast_decoder: bool = False, official: bool = False
) -> dict[str, Any]:
    with random_weights(settings.base, None, fast_decoder) as directory:
        return _times(settings, backend, directory, official)


def _calls(settings: GpuSettings) -> dict[str, Any]:
    """What a frame makes the processor do, without a graph and with one."""
    return {"calls": measure_calls(lambda captured: settings.open(captured=captured))}


def _batches(settings: GpuSettings) -> dict[str, Any]:
    """Time and memory of frames of several cameras together."""
    segmenter = settings.open()
    frames = street_frames(segmenter.input_size, settings.largest_batch)
    rows = {}
    for count in range(1, settings.largest_batch + 1):
        batch = frames[:count]
        for _ in range(_WARM_UP):
            segmenter.segment_batch(batch)
        reset_peak(segmenter.device)
        seconds = []
        for _ in range(settings.timed_frames):
            start = time.perf_counter()
            segmenter.segment_batch(batch)
            seconds.append(time.perf_counter() - start)
        rows[str(count)] = {**milliseconds(seconds), **peak_memory(segmenter.device)}
    segmenter.close()
    return {"batches": rows}


def _node(settings: GpuSettings) -> dict[str, Any]:
    """The node with a camera, both processes of their own, over DDS on this machine."""
    try:
        from camss_ros.lab.node_benchmark import measure_node_sizes
    except ImportError as error:
        return {"missing": str(error)}
    from camss_ros.lab.node_speed import NodeSettings

    brief = NodeSettings(lowest=60.0, seconds=2.0, long_seconds=4.0, latency_rates=(30.0,))
    parameters = {"device": settings.device, "backend": "torch"}
    return measure_node_sizes(find_model(settings.model), parameters, [(360, 480)], brief)


# In the order of their importance: a short time leaves out the last ones.
PARTS: dict[str, Part] = {
    "labels": Part("Labels, against the CPU", 15, lambda s: _labels(s, "torch")),
    "small": Part("A frame of the small model", 15, lambda s: _times(s, "torch")),
    "small_compiled": Part(
        "A frame of the small model, compiled", 40, lambda s: _times(s, "compile")
    ),
    "base_compiled": Part(
        "A frame of the large model, compiled, against the official procedure",
        90,
        lambda s: _base_times(s, "compile", official=True),
    ),
    "base_fast": Part(
        "A frame of the large model with a fast decoder, compiled",
        75,
        lambda s: _base_times(s, "compile", fast_decoder=True),
    ),
    "labels_compiled": Part(
        "Labels of the compiled network, against the CPU",
        20,
        lambda s: _labels(s, "compile", ["auto"]),  # each would be compiled by itself
    ),
    "base": Part(
        "A frame of the large model, against the official procedure",
        40,
        lambda s: _base_times(s, "torch", official=True),
    ),
    "calls": Part("What a frame makes the processor do", 10, _calls),
    "batches": Part("Frames of several cameras together", 15, _batches),
    "node": Part("The node, over DDS", 30, _node),
}


def main(key: str, settings: str) -> None:
    """Measure one part and print it, the last line."""
    exit_on_signals()  # ends the node too
    logging.basicConfig()  # warnings on stderr
    warnings = kept_warnings()
    given = GpuSettings(**json.loads(settings))
    select_device(given.device)
    row = PARTS[key].measure(given)
    # such as that there was no graph, or nothing compiled
    print(json.dumps({**row, "warnings": list(dict.fromkeys(warnings()))}))


def command(key: str, settings: GpuSettings) -> list[str]:
    """That measures a part."""
    return [sys.executable, "-m", "camss_ros.lab.gpu_parts", key, json.dumps(asdict(settings))]


if __name__ == "__main__":
    main(*sys.argv[1:])
