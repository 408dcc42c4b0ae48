"""The report on an evaluation: one HTML file that needs no other, and its numbers as JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import camss_ros
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.formats import CLASS_SCORES, WHOLE_SCORES
from camss_ros.evaluation.frame_thumbnails import SHOWN, Thumbnails
from camss_ros.evaluation.part_results import SERIES, PartResults
from camss_ros.evaluation.point_scores import point_results
from camss_ros.evaluation.report_plots import (
    GROUP_TITLES,
    histogram,
    latency_plot,
    reduce_curve,
    retention_figure,
    svg,
    temporal_plot,
)
from camss_ros.evaluation.result_folder import write_json, write_text
from camss_ros.evaluation.statistics import milliseconds
from camss_ros.extras import versions as package_versions

_TEMPLATES = Path(__file__).parent / "templates"
_PLOTS = 12  # temporal plots, one a part
_NOTES = 60
_CARDS = {"mIoU": "miou", "boundary IoU": "boundary_iou", **WHOLE_SCORES}


@dataclass(frozen=True)
class RunMetadata:
    """What a report says about how it was made.

    Attributes:
        title: of the page.
        command: the command line.
        model: source, name, hash of the weights, dtype, device.
        sampling: the sampler's options.
        failed: bags that failed, each {"bag": ..., "reason": ...}.
        bags: bags that did not.
        robustness: of the same model, as `read_robustness` returns it, or None.
    """

    title: str
    command: str
    model: dict[str, Any]
    sampling: dict[str, Any]
    failed: list[dict[str, str]] = field(default_factory=list)
    bags: int = 1
    robustness: dict[str, Any] | None = None


def write_report(path: Path, parts: Sequence[PartResults], metadata: RunMetadata) -> dict[str, Any]:
    """Write the page to `path`, and its numbers beside it with the suffix .json; returns them.

    Several parts (bags, cameras) are added up.

    Raises:
        ValueError: there is no part, or the parts have different classes.
        OSError: a file can't be written.
    """
    numbers = report_numbers(parts, metadata)
    write_json(path.with_suffix(".json"), numbers)
    write_text(path, _render(numbers, parts))
    return numbers


def report_numbers(parts: Sequence[PartResults], metadata: RunMetadata) -> dict[str, Any]:
    """Everything that the page says, as JSON values."""
    if not parts:
        raise ValueError("there is nothing to report: not one part has results")
    label_set = parts[0].label_set
    names = [c.name for c in label_set.classes]
    for part in parts:
        if [c.name for c in part.label_set.classes] != names:
            raise ValueError(f"{part.name} has other classes than {parts[0].name}")
    sums, accumulator, seconds = _add_up(parts)
    frames = sums["frames"]
    pixels = np.sum([part.class_pixels for part in parts], axis=0)
    total = max(1, sum(part.pixels for part in parts))
    whole = _whole(seconds)
    return {
        "title": metadata.title,
        "subtitle": f"{metadata.model.get('name')}, {frames} frames; "
        f"sampler {metadata.sampling.get('sampler')}, steps: {metadata.sampling.get('steps')}",
        "command": metadata.command,
        "versions": versions(),
        "model": metadata.model,
        "sampling": metadata.sampling,
        "bags": metadata.bags,
        "failed": metadata.failed,
        "classes": [{"name": c.name, "color": list(c.color)} for c in label_set.classes],
        "total": {
            **sums,
            "class_share": {n: int(p) / total for n, p in zip(names, pixels, strict=True)},
            "confusion": accumulator.confusion.tolist() if accumulator.frames else None,
            "latency_histogram": histogram(whole) if len(whole) else None,
            "stages_ms": {
                stage: milliseconds(values.tolist()) for stage, values in seconds.items()
            },
        },
        "robustness": metadata.robustness,
        "parts": [
            {
                "name": part.name,
                **_add_up([part])[0],
                "facts": part.metadata,
                "notes": part.notes,
                "temporal": {
                    name: {"x": x.tolist(), "y": [None if np.isnan(v) else v for v in y.tolist()]}
                    for name, (x, y) in _curves(part).items()
                },
            }
            for part in parts
        ],
        **{
            kind: [{"part": p.name, "name": s.name, "score": s.score} for p, s in chosen]
            for kind, chosen in zip(("worst", "best"), _chosen(parts), strict=True)
        },
    }


def _add_up(
    parts: Sequence[PartResults],
) -> tuple[dict[str, Any], ScoreAccumulator, dict[str, np.ndarray]]:
    """Numbers of all parts together, their counts, and the seconds of each stage."""
    classes = parts[0].label_set.classes
    accumulator = ScoreAccumulator(len(classes))
    for part in parts:
        accumulator.merge(part.counts)
    seconds = {
        stage: np.concatenate([p.seconds[stage] for p in parts if stage in p.seconds])
        for stage in dict.fromkeys(stage for part in parts for stage in part.seconds)
    }
    whole = _whole(seconds)
    latency = None
    if len(whole):
        latency = {**milliseconds(whole.tolist()), "max": float(whole.max() * 1e3)}
    sums = {
        "frames": sum(part.frames for part in parts),
        "labelled_frames": accumulator.frames,
        "scores": accumulator.report(classes) if accumulator.frames else None,
        "latency_ms": latency,
        "points": {
            kind: point_results([p.points[kind] for p in parts if kind in p.points], classes)
            for kind in dict.fromkeys(kind for part in parts for kind in part.points)
        },
    }
    return sums, accumulator, seconds


def versions() -> dict[str, str]:
    """Of this package, of Python and of what the numbers depend on."""
    return {
        "camss_ros": camss_ros.__version__,
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        **package_versions("torch", "numpy", "opencv-python-headless", "rosbags"),
    }


def _whole(seconds: dict[str, np.ndarray]) -> np.ndarray:
    """From the sending of an image to its mask where that was measured, else of the network."""
    return seconds.get("latency", seconds.get("total", np.empty(0)))


def _curves(part: PartResults) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    times = np.arange(part.frames, dtype=float) if part.times is None else part.times
    return {
        name: reduce_curve(times, part.series[name])
        for name in SERIES
        if len(part.series[name]) > 1 and not np.isnan(part.series[name]).all()
    }


def _chosen(parts: Sequence[PartResults]) -> tuple[list[tuple[PartResults, Thumbnails]], ...]:
    """The worst and the best frames of all parts; where some have labels, of those."""
    parts = [part for part in parts if part.counts["frames"]] or parts
    worst = sorted(((p, s) for p in parts for s in p.worst), key=lambda pair: pair[1].score)
    best = sorted(((p, s) for p in parts for s in p.best), key=lambda pair: -pair[1].score)
    return worst[:SHOWN], best[:SHOWN]


def _render(numbers: dict[str, Any], parts: Sequence[PartResults]) -> str:
    total, latency = numbers["total"], numbers["total"]["latency_ms"]
    by_score = "mIoU" if total["scores"] else "mean confidence"
    worst, best = (
        [
            each.captioned(by_score, part=f"{part.name}, " if len(parts) > 1 else "")
            for part, each in chosen
        ]
        for chosen in _chosen(parts)
    )
    notes = [
        f"{part.name}: {note}" if len(parts) > 1 else note for part in parts for note in part.notes
    ]
    if len(notes) > _NOTES:
        notes[_NOTES:] = [f"and {len(notes) - _NOTES} more; all of them are in the JSON file"]
    return render_page(
        "report.html.j2",
        report=numbers,
        cards=_cards(numbers, parts),
        columns=[(title, *keys) for title, keys in CLASS_SCORES.items()],
        matrix=_matrix(numbers),
        frames=[
            (f"Worst frames, by {by_score}", worst),
            (f"Best frames, by {by_score}", best),
        ],
        latency_svg=latency
        and latency_plot(total["latency_histogram"], latency["p50"], latency["p95"]),
        temporal=[
            (part.name, temporal_plot(curves, part.times is not None))
            for part in parts[:_PLOTS]
            if (curves := _curves(part))
        ],
        robustness=_robustness(numbers["robustness"]),
        notes=notes,
        made_with=[
            *((f"model: {k}", v) for k, v in numbers["model"].items()),
            *((f"sampling: {k}", v) for k, v in numbers["sampling"].items()),
            *(numbers["versions"].items()),
        ],
    )


def _robustness(numbers: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Title, rows of numbers and the curves of each group of corruptions."""
    if numbers is None:
        return []
    return [
        {
            "title": GROUP_TITLES[group],
            "rows": list(of.items()),
            "svg": svg(
                retention_figure({name: model["corruptions"] for name, model in of.items()})
            ),
        }
        for group, of in numbers["groups"].items()
    ]


def _cards(numbers: dict[str, Any], parts: Sequence[PartResults]) -> list[tuple[str, str]]:
    total, latency = numbers["total"], numbers["total"]["latency_ms"]
    cards = []
    for title, key in _CARDS.items():
        value = total["scores"] and total["scores"][key]
        if value is not None:
            cards.append((f"{title} %", f"{100 * value:.1f}"))
    for kind, points in total["points"].items():
        if points["right"] is not None:
            cards.append((f"{kind} points right %", f"{100 * points['right']:.1f}"))
    cards += [("frames", str(total["frames"])), ("with labels", str(total["labelled_frames"]))]
    if latency:
        cards += [("latency p50, ms", f"{latency['p50']:.1f}"),
                  ("latency p95, ms", f"{latency['p95']:.1f}")]  # fmt: skip
    for part in parts:
        cards += [(name, str(value)) for name, value in part.metadata.items()]
    return cards


def _matrix(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of cells; the shade of a cell says its share of the row."""
    confusion = numbers["total"]["confusion"]
    if confusion is None:
        return []
    rows = []
    for label_class, counts in zip(numbers["classes"], confusion, strict=True):
        pixels = sum(counts)
        cells = []
        for count in counts:
            share = count / pixels if pixels else 0.0
            ink = "#fff" if share > 0.55 else "inherit"
            style = f"background: rgb(31 111 139 / {share:.3f}); color: {ink}" if count else ""
            text = "" if not count else "<0.1" if share < 0.001 else f"{100 * share:.1f}"
            cells.append({"text": text, "style": style})
        rows.append({"name": label_class["name"], "cells": cells})
    return rows


def render_page(template: str, **values: Any) -> str:
    """A page from a file in `templates/`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(**values)
