"""`camss-ros study own-data` and `study drift`: studies of frames that a model has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import DATA, ROOT, check_page, command_line, progress_row
from camss_ros.commands.segmenter_options import SegmenterSpec, scored_model, segmenter_options
from camss_ros.commands.train import OVERRIDES, PACKAGES
from camss_ros.extras import require

PAGE = typer.Option(..., metavar="FILE", help="The page (.md); its numbers go to .json.")


@segmenter_options("model", "device", "precision")
def drift(
    data: str = DATA,
    root: Path = ROOT,
    output: Path = PAGE,
    other: Optional[list[str]] = typer.Option(
        None, metavar="NAME:ROOT", help="Another data set, whose val is held against it as well."
    ),
    every: int = typer.Option(1, min=1, help="Take every n-th frame to hold against it."),
    *,
    spec: SegmenterSpec,
) -> None:
    """How often drift is told: of frames held out, by night, in fog, and of other data sets."""
    from camss_ros.datasets.datasets import open_data
    from camss_ros.evaluation.evaluate import named_apart, open_labelled
    from camss_ros.evaluation.result_folder import fingerprint
    from camss_ros.lab.drift_study import drift_rows, study_drift

    check_page(output)
    named = [(data, root), *(_other(one) for one in other or ())]
    rows = named_apart([open_labelled(name, place, "val", every=every) for name, place in named])
    training = open_data(data, root, "train")
    settings = {
        "data": {
            "name": data,
            "every": every,
            "others": [row.name for row in rows[1:]],
            "files_fingerprint": [
                fingerprint(files) for files in (training.files, *(row.files for row in rows))
            ],
        },
        "model": scored_model(spec, "dtype"),
    }
    with progress_row("frames of all rows") as step:
        study_drift(
            spec.open(), training, drift_rows(rows[0], rows[1:]), output,
            settings, command_line(), step,
        )  # fmt: skip
    typer.echo(f"wrote {output}")


@segmenter_options("model")
def own_data(
    data: str = DATA,
    root: Path = ROOT,
    drive: str = typer.Option(..., help="How the names of the frames of the own drive begin."),
    output: Path = PAGE,
    count: int = typer.Option(40, min=5, help="Frames to label."),
    seeds: int = typer.Option(3, min=1, help="Runs of each kind."),
    minutes: float = typer.Option(35.0, min=0.01, help="Of each run, at most."),
    overrides: Optional[list[str]] = OVERRIDES,
    *,
    spec: SegmenterSpec,
) -> None:
    """A drive held out: fine-tuned on picked frames of it, on frames at random, and on none."""
    require(*PACKAGES)
    from camss_ros.lab.own_data_study import study_own_data

    check_page(output)
    options = tuple(overrides or ())
    settings = {
        "data": {"name": data, "drive": drive},
        "count": count,
        "minutes": minutes,
        "overrides": list(options),
        "model": scored_model(spec, "dtype"),
    }
    study_own_data(
        str(spec.model), data, root, drive, count, seeds, options, minutes, output, settings,
        command_line(), typer.echo,
    )  # fmt: skip
    typer.echo(f"wrote {output}")


def _other(text: str) -> tuple[str, Path]:
    name, colon, place = text.partition(":")
    if not colon or not place:
        raise ValueError(f"--other {text!r}: expected NAME:ROOT, such as folder:DATA/idd_lite")
    return name, Path(place)
