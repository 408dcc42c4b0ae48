"""Ours against the official procedure, on the same network, frame and machine, in turns; section of
the page about speed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import street_frames
from camss_ros.lab.machine import describe_machine, describe_segmenter, load_average
from camss_ros.lab.official_procedure import STEPS, OfficialProcedure
from camss_ros.lab.random_weights import random_weights
from camss_ros.lab.segmenter_speed import time_frames
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.study_output import markdown_table, paragraph, verdict
from camss_ros.model.checkpoint import load_pretrained
from camss_ros.model.schedule import SamplingOptions

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
    ours: list[list[float]] = []
    for _ in range(turns):
        _, seconds = official.segment(frame)
        for stage, value in seconds.items():
            theirs.setdefault(stage, []).append(value)
        ours.append(time_frames(segmenter, [frame], _OURS_A_TURN)[0])
        on_turn()
    ratios = [
        slow / statistics.median(fast) for slow, fast in zip(theirs["total"], ours, strict=True)
    ]
    return {
        "size": list(segmenter.input_size),
        "turns": turns,
        "official": {
            "steps": steps,
            "dtype": "float32",
            "stages_ms": {stage: milliseconds(seconds) for stage, seconds in theirs.items()},
        },
        "ours": {
            **describe_segmenter(segmenter),
            "sampling": asdict(segmenter.sampling),
            "whole_ms": milliseconds(list(chain.from_iterable(ours))),
        },
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "machine": describe_machine(segmenter.device),
        "load_average": load,
    }


WANTED_RATIO = 20.0
# `auto` would build graphs of a gigabyte and run the network dozens of times for one comparison.
_BACKEND = "torch"
# How many steps its weights need is not known here: more than the bundled model's one.
_STEPS = 4


def _measure(run: SpeedRun) -> dict[str, Any]:
    settings = run.settings
    precision = settings.spec.precision
    spec = replace(
        settings.spec,
        backend=_BACKEND,
        precision="auto" if precision == "int8" else precision,  # which PyTorch has not
        sampling=SamplingOptions(steps=_STEPS),
    )
    sizes = {}
    for size, turns in settings.official_turns.items():
        name = f"{size[1]} x {size[0]}"
        run.progress(f"{settings.official_model}, {name}, {turns} turns")
        with random_weights(settings.official_model, size) as directory:
            segmenter = replace(spec, model=directory).open()
            sizes[name] = compare_with_official(
                segmenter, directory, turns, steps=settings.official_steps
            )
            segmenter.close()
    return {"model": settings.official_model, "sizes": sizes}


def _show(row: dict[str, Any]) -> str:
    lines = []
    for name, each in row["sizes"].items():
        ratio = each["ratio"]
        official, ours = each["official"]["stages_ms"]["total"], each["ours"]["whole_ms"]
        lines.append([
            name, str(each["turns"]), f"{official['p50'] / 1e3:.2f}", f"{ours['p50'] / 1e3:.3f}",
            f"{ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})",
        ])  # fmt: skip
    first = next(iter(row["sizes"].values()))
    ours, smallest = first["ours"], first["ratio"]["median"]
    how = paragraph(f"""
        `{row["model"]}` with random weights. Official: {first["official"]["steps"]} ancestral steps
        on all tokens, float32, palette in numpy (`lab/official_procedure.py`). Ours:
        {ours["backend"]} in {ours["dtype"]}, steps: {ours["sampling"]["steps"]}
        ({ours["sampling"]["sampler"]}). One frame of theirs, a few of ours, and again, in one
        process; the ratio is that of each turn, its median and range. At the first size the promise
        {verdict(smallest >= WANTED_RATIO)}.""")
    header = ["size", "turns", "official, s", "ours, s", "times as fast"]
    return f"{how}\n\n{markdown_table(header, lines)}"


SECTION = Section(
    "official",
    "Against the official procedure",
    f"at least {WANTED_RATIO:g} times as fast at 256 x 256",
    _measure,
    _show,
)
