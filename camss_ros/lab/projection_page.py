"""The page of `study projection`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from camss_ros.evaluation.result_folder import write_json
from camss_ros.lab.machine import describe_machine, load_average
from camss_ros.lab.study_output import markdown_table, p50_p95, paragraph, write_page

_LIMITS = (6.0, 25.0, 5.0, 5.0)  # ms that each kind of output may take
_SHARES = ("points", "cells", "known", "free_wrong")


def write_projection_page(
    output: Path,
    command: str,
    model: Mapping[str, str],
    frames: int,
    scores: Mapping[str, Mapping[str, float]],
    times: Mapping[str, Mapping[str, float]],
) -> list[Path]:
    """Write `projection.md` and `projection.json` of `score` and `measure`. Raises OSError.

    Args:
        model: `name` and `sha256` of what generated the masks.
    """
    machine = describe_machine(torch.device("cpu"))
    output.mkdir(parents=True, exist_ok=True)
    page, content = output / "projection.md", output / "projection.json"
    write_page(
        page,
        "Masks in the world",
        command,
        paragraph(
            f"{frames} frames of the synthetic street, 960 x 720, each of another street. Points: "
            "share of the points of the depth cloud with the label of the scene. Cells: share of "
            "the known cells of 0.2 m within 15 m that are free where the ground plan, drawn from "
            "above, has road, and not free elsewhere. Known: share of the cells in view that are "
            "not hidden. Free by mistake: share of the free cells that are not road. Generated "
            f"masks: of `{model['name']}` (weights sha256 `{model['sha256']}`)."
        ),
        markdown_table(
            ("", "points", "cells", "known", "free by mistake"),
            [
                (name, *(f"{100 * found[key]:.2f} %" for key in _SHARES))
                for name, found in scores.items()
            ],
        ),
        paragraph(
            "Processor time in ms, median / 95th percentile, on one core of "
            f"{machine['processor']} with a load average of {load_average()}, from the bytes of "
            "the inputs to those of the message, without DDS."
        ),
        markdown_table(
            ("", "ms", "at most"),
            [
                (name, p50_p95(found), f"{limit:g}")
                for (name, found), limit in zip(times.items(), _LIMITS, strict=True)
            ],
        ),
    )
    write_json(
        content,
        {
            "model": dict(model),
            "frames": frames,
            "scores": dict(scores),
            "times_ms": dict(times),
            "machine": machine,
        },
    )
    return [page, content]
