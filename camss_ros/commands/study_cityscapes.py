"""`camss-ros study cityscapes`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import (
    DATA,
    ROOT,
    SPLIT,
    check_folder,
    command_line,
    counted_progress,
    parse_size,
)
from camss_ros.commands.segmenter_options import (
    TWIN,
    SegmenterSpec,
    scored_model,
    segmenter_options,
    with_twin,
)
from camss_ros.extras import require

if TYPE_CHECKING:
    from camss_ros.lab.cityscapes_study import SizedData


@segmenter_options("model", "seed", "device", "precision", "backend")
def cityscapes(
    data: str = DATA,
    root: Path = ROOT,
    output: Path = typer.Option(..., help="Folder of page, plot and JSON."),
    split: str = SPLIT,
    every: int = typer.Option(1, min=1, help="Take every n-th frame, of the other data too."),
    *,
    spec: SegmenterSpec,
    network_size: str = typer.Option(
        "512x256",
        metavar="WIDTHxHEIGHT",
        help="Of the frames in the network, multiples of 16; they are resized to it.",
    ),
    twin: Optional[Path] = TWIN,
    other: list[str] = typer.Option(
        [],
        metavar="DATA:ROOT:SPLIT:WIDTHxHEIGHT",
        help="Data that the model may not know, scored at that size; can be repeated.",
    ),
) -> None:
    """The paper's table: scores, robustness, the twin, other data."""
    import dataclasses

    require("matplotlib")
    from camss_ros.evaluation.evaluate import named_apart
    from camss_ros.evaluation.result_folder import fingerprint
    from camss_ros.lab.cityscapes_study import contenders, study_cityscapes

    check_folder(output)
    size = parse_size("--network-size", network_size)
    named = (f"{data}:{root}:{split}", size)
    others = [
        (place, parse_size(f"--other {place}{colon}{given}:", given))
        for place, colon, given in (one.rpartition(":") for one in other)
    ]
    opened = [_open(*each, every) for each in (named, *others)]
    sized = named_apart([one for one, _ in opened])
    spec = dataclasses.replace(spec, network_size=size)
    models = with_twin(spec, twin)
    settings = {
        "data": [
            {
                "name": one.name,
                "size": list(one.size),
                "frames": len(one),
                "files_fingerprint": fingerprint(files),
            }
            for one, (_, files) in zip(sized, opened, strict=True)
        ],
        "every": every,
        "models": {role: scored_model(each, "backend", "dtype") for role, each in models.items()},
        "seed": spec.seed,
    }
    with counted_progress() as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        specs = contenders(spec, models.get("twin"))
        written = study_cityscapes(specs, sized, output, settings, command_line(), show)
    for path in written:
        typer.echo(f"wrote {path}")


def _open(text: str, size: tuple[int, int], every: int) -> tuple[SizedData, Sequence[Path]]:
    """The data and their files.

    Raises ValueError for a text that is not DATA:ROOT:SPLIT, and what the data set raises.
    """
    from camss_ros.evaluation.evaluate import open_labelled
    from camss_ros.lab.cityscapes_study import SizedData

    name, _, place = text.partition(":")
    root, _, split = place.rpartition(":")
    if not (name and root and split):
        raise ValueError(f"--other {text}: expected DATA:ROOT:SPLIT:WIDTHxHEIGHT")
    labelled = open_labelled(name, Path(root), split, every=every)
    title = f"{Path(root).resolve().name} {split}"
    return SizedData(title, labelled.label_set, size, labelled.frames), labelled.files
