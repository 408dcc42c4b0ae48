"""Section of the page about speed: whether a segmenter stays as fast and as small as at first."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import street_frames
from camss_ros.lab.segmenter_speed import time_frames
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.study_output import markdown_table, p50_p95, paragraph, verdict
from camss_ros.resident_memory import resident_bytes

_PICTURES = 8
_SAMPLES = 50  # of the memory
_AROUND = 10  # frames on either side of the hundredth; one alone would hang on chance


def measure_steadiness(
    segmenter: Segmenter,
    frame_size: tuple[int, int],
    count: int,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Segment frame after frame.

    Args:
        frame_size: (height, width).
        count: of the frames, 20 or more.
        progress: told the frames done.

    Returns:
        JSON values. `growth_mb`: of the resident memory, along the straight line through its
        samples, from the end of the first tenth to the end.
    """
    segmenter.warm_up(*frame_size)
    sampled: list[tuple[int, float]] = []

    def sample(done: int) -> None:
        if done % max(1, count // _SAMPLES) == 0:
            sampled.append((done, resident_bytes() / 1e6))
        progress(done)

    whole, _ = time_frames(segmenter, street_frames(frame_size, _PICTURES), count, sample)
    middle = min(100, count - _AROUND)
    hundredth = whole[middle - _AROUND - 1 : middle + _AROUND]
    later = [each for each in sampled if each[0] > count // 10]
    slope = float(np.polyfit([at for at, _ in later], [size for _, size in later], 1)[0])
    return {
        "frames": count,
        "first_ms": 1e3 * whole[0],
        "second_ms": 1e3 * whole[1],
        "hundredth_ms": 1e3 * statistics.median(hundredth),
        "whole_ms": milliseconds(whole),
        "resident_mb": [megabytes for _, megabytes in sampled],
        "growth_mb": slope * (later[-1][0] - later[0][0]),
    }


ALLOWED_GROWTH_MB = 5.0
_AS_FAST = 1.2  # times the hundredth frame


def _measure(run: SpeedRun) -> dict[str, Any]:
    settings = run.settings
    segmenter = settings.segmenter()
    frames = settings.steady_frames
    result = measure_steadiness(
        segmenter, settings.frame_size, frames,
        lambda done: run.progress(f"steadiness: {done} of {frames} frames"),
    )  # fmt: skip
    segmenter.close()
    return {"backend": segmenter.backend, "frame_size": list(settings.frame_size), **result}


def _show(row: dict[str, Any]) -> str:
    height, width = row["frame_size"]
    resident = row["resident_mb"]
    as_fast = row["second_ms"] <= _AS_FAST * row["hundredth_ms"]
    table = markdown_table(
        ["frame", "ms"],
        [
            ["first", f"{row['first_ms']:.1f}"],
            ["second", f"{row['second_ms']:.1f}"],
            ["around the hundredth, p50", f"{row['hundredth_ms']:.1f}"],
            ["all, p50 / p95", p50_p95(row["whole_ms"])],
        ],
    )
    how = paragraph(f"""
        {row["frames"]} frames of {width} x {height} by {row["backend"]} in one process, after its
        warm-up. Resident memory {resident[0]:.0f} MB at first and {resident[-1]:.0f} MB at the end;
        along the line through its samples it grows by {row["growth_mb"]:+.1f} MB (allowed:
        {ALLOWED_GROWTH_MB:g}): the promise about memory
        {verdict(row["growth_mb"] <= ALLOWED_GROWTH_MB)}, the one about the second frame (allowed:
        {_AS_FAST:g} times the hundredth) {verdict(as_fast)}.""")
    return f"{how}\n\n{table}"


SECTION = Section(
    "steady",
    "Frame after frame",
    "the second frame as fast as the hundredth, no growth of memory",
    _measure,
    _show,
)
