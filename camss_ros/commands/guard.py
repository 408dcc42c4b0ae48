"""`camss-ros guard`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import DATA, LABEL_SET, ROOT, SPLIT, check_file, progress_row
from camss_ros.commands.segmenter_options import NETWORK, SAMPLING, SegmenterSpec, segmenter_options


@segmenter_options(*NETWORK, *SAMPLING)
def guard(
    output: Path = typer.Option(..., help="File to write (.yaml)."),
    data: str = DATA,
    root: Path = ROOT,
    split: str = SPLIT,
    label_set: Optional[str] = LABEL_SET,
    every: int = typer.Option(1, min=1, help="Take every n-th frame."),
    margin: float = typer.Option(0.03, min=0, max=1, help="That the IoU of a class may fall."),
    *,
    spec: SegmenterSpec,
) -> None:
    """Write a guard: frames, and the IoU of each class on them that no model may fall below.

    The node's parameter `guard` and `export --guard` name the file.
    """
    from camss_ros.evaluation.guard import make_guard
    from camss_ros.street.calibration_scenes import CalibrationScenes

    entries = {
        "data": data, "root": str(root), "split": split, "label_set": label_set, "every": every
    }  # fmt: skip
    check_file(output, ".yaml")
    spec.check()
    with progress_row(f"{data} {split}") as step:
        limits = make_guard(output, lambda: spec.open(CalibrationScenes()), entries, margin, step)
    for name, limit in limits.items():
        typer.echo(f"{limit:.4f}  {name}")
    typer.echo(f"wrote {output}")
