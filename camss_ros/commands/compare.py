"""`camss-ros compare`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import (
    LABEL_SET,
    SPLIT,
    check_file,
    command_line,
    progress_row,
    show,
)
from camss_ros.commands.segmenter_options import SAMPLING, SegmenterSpec, segmenter_options
from camss_ros.extras import require

if TYPE_CHECKING:
    from rich.table import Table

    from camss_ros.bags.bag_frames import BagFrame
    from camss_ros.evaluation.compare import Comparison, LabelledFrame
    from camss_ros.images.label_sets import LabelSet
    from camss_ros.model.config import CamSegConfig, TwinConfig

_ROUGH = 10  # blocks below which an interval is told to be rough


@segmenter_options("device", "precision", "backend", "network_size", *SAMPLING, "start")
def compare(
    first: str = typer.Argument(..., metavar="MODEL_A", help="Bundled name, directory or Hub id."),
    second: str = typer.Argument(..., metavar="MODEL_B", help="What may take its place."),
    output: Path = typer.Option(..., help="Page to write (.html); its numbers go to .json."),
    data: Optional[str] = typer.Option(
        None, "--data", help="Data set, as of `evaluate` (docs/datasets.md)."
    ),
    root: Optional[Path] = typer.Option(None, "--root", help="Its folder."),
    split: str = SPLIT,
    bag: Optional[Path] = typer.Option(None, "--bag", help="Instead: a bag with label images."),
    image: Optional[str] = typer.Option(None, metavar="TOPIC", help="Images of the bag."),
    labels: Optional[str] = typer.Option(None, metavar="TOPIC", help="Label images of the bag."),
    label_set: Optional[str] = LABEL_SET,
    clip: bool = typer.Option(False, "--clip", help="The frames are one clip: measure flicker."),
    conditions: Optional[Path] = typer.Option(
        None,
        metavar="FILE",
        help="Scores by condition as well: a CSV file with a column `frame` and one for each "
        "condition, or the import.json of `data import`.",
    ),
    block: int = typer.Option(
        10, min=1, help="Neighbouring frames that are drawn together for an interval."
    ),
    required: Optional[str] = typer.Option(
        None,
        "--require",
        metavar="LIMITS",
        help='Least differences, such as "miou>=-0.005, person>=-0.01"; else the exit code is 2.',
    ),
    *,
    spec: SegmenterSpec,
) -> None:
    """Two models on the same labelled frames: what the second one gains and loses, and how surely.

    Every score comes with the 95 % interval of its difference, by a paired bootstrap over blocks of
    neighbouring frames. `--require` looks at the differences themselves.
    """
    import dataclasses

    require("jinja2")

    from camss_ros.evaluation.compare import compare as run
    from camss_ros.evaluation.compare import comparison_report, score_names
    from camss_ros.evaluation.conditions import read_conditions
    from camss_ros.evaluation.evaluate import class_table
    from camss_ros.evaluation.paired import check_names, parse_requirements, unmet
    from camss_ros.evaluation.report import render_page, versions
    from camss_ros.evaluation.result_folder import write_json, write_text
    from camss_ros.model.checkpoint import find_config
    from camss_ros.street.calibration_scenes import CalibrationScenes

    check_file(output, ".html")
    limits = parse_requirements(required) if required else {}
    found_conditions = None if conditions is None else read_conditions(conditions)
    specs = [dataclasses.replace(spec, model=model) for model in (first, second)]
    for each in specs:
        each.check()
    configs = [find_config(model) for model in (first, second)]
    with _frames(configs[0], data, root, split, bag, image, labels, label_set) as opened:
        frames, known, total = opened
        check_names(limits, score_names(known.classes))
        for model, own in zip((first, second), configs, strict=True):
            try:
                class_table(own.label_set, own.name, known)
            except ValueError as error:
                raise ValueError(f"{model}: {error}") from error
        # it takes seconds, so that all that can be wrong is said before
        segmenters = specs[0].open(CalibrationScenes()), specs[1].open(CalibrationScenes())
        for segmenter in segmenters:
            segmenter.warm_up(*segmenter.input_size)
        with progress_row("comparing", total) as step:
            comparison = run(
                segmenters, frames, known, block=block, clip=clip or bag is not None,
                conditions=found_conditions, progress=step,
            )  # fmt: skip
    failed = unmet(limits, comparison.differences)
    report = {
        **comparison_report(comparison),
        "models": [
            {**each.describe()["model"], "device": str(segmenter.device)}
            for each, segmenter in zip(specs, segmenters, strict=True)
        ],
        "sampling": spec.describe()["sampling"],
        "block": block,
        "rough": comparison.frames < _ROUGH * block,
        "required": required,
        "unmet": failed,
        "command": command_line(),
        "versions": versions(),
    }
    page = render_page(
        "compare.html.j2",
        title=f"{second} against {first}",
        report=report,
        classes=comparison.classes,
        frames=[
            (title, [each.captioned("mIoU", "+") for each in chosen])
            for title, chosen in (
                ("Frames on which the second is worse", comparison.worse),
                ("Frames on which it is better", comparison.better),
            )
        ],
    )
    write_json(output.with_suffix(".json"), report)
    write_text(output, page)
    show(_table(comparison))
    if found_conditions and not comparison.by_condition:
        names = f"{next(iter(found_conditions))!r}, ..."
        typer.echo(
            f"no scores by condition: {conditions} names no frame of these ({names})", err=True
        )
    typer.echo(f"wrote {output}")
    if failed:
        typer.echo(f"camss-ros: not met: {'; '.join(failed)}", err=True)
        raise typer.Exit(2)


@contextmanager
def _frames(
    config: CamSegConfig | TwinConfig,
    data: str | None,
    root: Path | None,
    split: str,
    bag: Path | None,
    image: str | None,
    labels: str | None,
    label_set: str | None,
) -> Iterator[tuple[Iterator[LabelledFrame], LabelSet, int]]:
    """The frames, the classes of their labels, and how many there are at most.

    Args:
        config: the first model's, whose classes a bag's labels are of without `label_set`.
    """
    if bag is None:
        from camss_ros.datasets.datasets import open_data

        if data is None or root is None or image or labels:
            raise ValueError("--data goes with --root, and --bag with --image and --labels")
        images = open_data(data, root, split, label_set)
        yield (images[index] for index in range(len(images))), images.label_set, len(images)
        return
    from camss_ros.bags.bag import Bag
    from camss_ros.bags.bag_frames import BagSelection
    from camss_ros.evaluation.evaluate_bag import RunProgress, open_bag_frames
    from camss_ros.images.label_sets import LabelSet, load_label_set

    require("rosbags")
    if data is not None or root is not None or image is None or labels is None:
        raise ValueError("--bag goes with --image and --labels, and not with --data")
    known = load_label_set(label_set) if label_set else None
    with Bag(bag) as opened:
        classes, chosen = config.label_set, BagSelection(image, labels)
        frames = open_bag_frames(opened, chosen, classes, config.name, known, RunProgress())
        of_model = LabelSet("the model's", classes)
        try:
            yield _with_gaps(frames), known or of_model, frames.expected
        finally:
            for note in (*opened.warnings, *frames.faults.listed):
                typer.echo(f"warning: {note}", err=True)


def _with_gaps(frames: Iterable[BagFrame]) -> Iterator[LabelledFrame]:
    """The frames, and one without a label in place of each that was passed over: no clip."""
    following = 0
    for it in frames:
        for _ in range(following, it.number):
            yield it.image, None, it.name
        yield it.image, it.label, it.name
        following = it.number + 1


def _table(comparison: Comparison) -> Table:
    from camss_ros.evaluation.formats import percent, result_table

    columns = ("first", "second", "difference", "95 % interval")
    table = result_table("IoU %", *columns, title=f"{comparison.frames} frames")
    for name, it in comparison.differences.items():
        table.add_row(
            name,
            *map(percent, (it.first, it.second, it.difference)),
            f"{percent(it.low)} to {percent(it.high)}",
        )
    return table
