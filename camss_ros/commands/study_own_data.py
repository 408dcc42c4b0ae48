"""`camss-ros study own-data` and `study drift`: studies of frames that a model has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import DATA, ROOT, check_folder, command_line
from camss_ros.commands.segmenter_options import segmenter_options
from camss_ros.commands.train import OVERRIDES, PACKAGES
from camss_ros.extras import require

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec

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
    from rich.progress import Progress

    from camss_ros.datasets.datasets import open_data
    from camss_ros.evaluation.evaluate import EveryNth
    from camss_ros.lab.drift_study import DriftRow, drift_rows, study_drift

    _check_page(output)
    others = [_other(one) for one in other or ()]
    check_folder(output.parent)
    rows = []
    for name, place in [(data, root), *others]:
        images = open_data(name, place, "val")
        called = place.name if name == "folder" else name
        rows.append(DriftRow(f"{called} val", EveryNth(images, every), images.label_set))
    settings = {
        "data": {"name": data, "every": every, "others": [row.name for row in rows[1:]]},
        "model": _model_of(spec),
    }
    with Progress() as bar:
        task = bar.add_task("frames of all rows", total=None)
        study_drift(
            spec.open(), open_data(data, root, "train"), drift_rows(rows[0], rows[1:]), output,
            settings, command_line(),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
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

    _check_page(output)
    options = tuple(overrides or ())
    settings = {
        "data": {"name": data, "drive": drive},
        "count": count,
        "minutes": minutes,
        "overrides": list(options),
        "model": _model_of(spec),
    }
    check_folder(output.parent)
    study_own_data(
        str(spec.model), data, root, drive, count, seeds, options, minutes, output, settings,
        command_line(), typer.echo,
    )  # fmt: skip
    typer.echo(f"wrote {output}")


def _check_page(output: Path) -> None:
    if output.suffix != ".md":
        raise ValueError(f"can't write {output}: expected a file whose name ends in .md")


def _other(text: str) -> tuple[str, Path]:
    name, colon, place = text.partition(":")
    if not colon or not place:
        raise ValueError(f"--other {text!r}: expected NAME:ROOT, such as folder:DATA/idd_lite")
    return name, Path(place)


def _model_of(spec: SegmenterSpec) -> dict[str, str]:
    """What scores depend on of a model, as JSON values."""
    model = spec.describe()["model"]
    return {key: model[key] for key in ("name", "sha256", "dtype")}
