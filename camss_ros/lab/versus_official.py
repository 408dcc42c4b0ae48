"""Ours against the official procedure, on the same network, frame and machine, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import street_frames
from camss_ros.lab.machine import describe_machine, load_average
from camss_ros.lab.official_procedure import STEPS, OfficialProcedure
from camss_ros.lab.segmenter_speed import FrameTimes, time_frames
from camss_ros.model.checkpoint import load_pretrained

_OURS_A_TURN = 5  # frames; a single short one would hang on chance


def compare_with_official(
    segmenter: Segmenter,
    model: Path,
    turns: int,
    on_turn: Callable[[], None] = lambda: None,
    steps: int = STEPS,
) -> dict[str, Any]:
    """Both by turns, as JSON values: whatever else the machine does meets both.

    Args:
        segmenter: ours, of `model`.
        model: directory of the model.
        turns: of each; a turn is a frame of theirs, then a few of ours.
        steps: of the official sampler.

    Raises:
        ModelError: the model cannot be read.
        ValueError: it has not the official architecture.
    """
    load = load_average()
    official = OfficialProcedure(load_pretrained(model), segmenter.device, steps)
    (frame,) = street_frames(segmenter.input_size, 1)
    segmenter.warm_up(*segmenter.input_size)
    time_frames(segmenter, [frame], 1)
    theirs: dict[str, list[float]] = {}
    ours: list[FrameTimes] = []
    for _ in range(turns):
        _, seconds = official.segment(frame)
        for stage, value in seconds.items():
            theirs.setdefault(stage, []).append(value)
        ours.append(time_frames(segmenter, [frame], _OURS_A_TURN))
        on_turn()
    ratios = [
        slow / statistics.median(times.whole)
        for slow, times in zip(theirs["total"], ours, strict=True)
    ]
    whole = [seconds for times in ours for seconds in times.whole]
    return {
        "size": list(segmenter.input_size),
        "turns": turns,
        "official": {
            "steps": steps,
            "dtype": "float32",
            "stages_ms": {stage: milliseconds(seconds) for stage, seconds in theirs.items()},
        },
        "ours": {
            "backend": segmenter.backend,
            "dtype": str(segmenter.dtype).removeprefix("torch."),
            "sampling": asdict(segmenter.sampling),
            "whole_ms": milliseconds(whole),
        },
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "machine": describe_machine(segmenter.device),
        "load_average": load,
    }
