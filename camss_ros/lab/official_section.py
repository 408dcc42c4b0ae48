"""Section of the page about speed: ours against the official procedure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from camss_ros.lab.page import markdown_table, paragraph, verdict
from camss_ros.lab.random_weights import random_weights
from camss_ros.lab.speed_section import LabelledData, Progress, Section, SpeedSettings
from camss_ros.lab.versus_official import compare_with_official
from camss_ros.model.schedule import SamplingOptions

WANTED_RATIO = 20.0
# `auto` would build graphs of a gigabyte and run the network dozens of times for one comparison.
_BACKEND = "torch"
# How many steps its weights need is not known here: more than the bundled model's one.
_STEPS = 4


def _measure(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
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
        progress(f"{settings.official_model}, {name}, {turns} turns")
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
        on all tokens, float32, palette in numpy (`inference/official_procedure.py`). Ours:
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
