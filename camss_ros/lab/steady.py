"""Whether a segmenter stays as fast and as small as it is at first."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import street_frames
from camss_ros.lab.segmenter_speed import time_frames
from camss_ros.resident_memory import resident_bytes

_PICTURES = 8
_SAMPLES = 50  # of the memory
_AROUND = 10  # frames on either side of the hundredth; one alone would hang on chance


def measure_steadiness(
    segmenter: Segmenter,
    frame_size: tuple[int, int],
    count: int,
    on_frame: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Segment `count` frames (20 or more) of (height, width); JSON values.

    `growth_mb`: of the resident memory, along the straight line through its samples, from the end
    of the first tenth to the end.
    """
    segmenter.warm_up(*frame_size)
    sampled: list[tuple[int, float]] = []
    done = 0

    def sample() -> None:
        nonlocal done
        done += 1
        if done % max(1, count // _SAMPLES) == 0:
            sampled.append((done, resident_bytes() / 1e6))
        on_frame()

    whole = time_frames(segmenter, street_frames(frame_size, _PICTURES), count, sample).whole
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
