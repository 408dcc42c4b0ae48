"""`camss-ros finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from camss_ros.commands.options import check_folder, show
from camss_ros.commands.train import OUTPUT, OVERRIDES, PACKAGES
from camss_ros.extras import require

if TYPE_CHECKING:
    from rich.table import Table


def finetune(
    data: Path = typer.Option(
        ..., help="Folder with train/ and val/, images/ and labels/ in each, and label_set.yaml."
    ),
    output: Path = OUTPUT,
    model: str = typer.Option(
        "camss-tiny", help="Bundled name, directory or Hub id to start from."
    ),
    original: Optional[Path] = typer.Option(
        None, help="Folder of the data that the model was trained on, mixed in against forgetting."
    ),
    minutes: float = typer.Option(35.0, min=0.01, help="Time of the training, at most."),
    overrides: Optional[list[str]] = OVERRIDES,
) -> None:
    """Train a model further on own labelled images; the same command goes on where it stopped.

    With the classes of the model it starts from all of its weights. With others a mask autoencoder
    is trained first; classes that label_set.yaml maps onto the model's start from those.
    """
    require(*PACKAGES)

    from camss_ros.training.finetune import FinetuneOptions
    from camss_ros.training.finetune import finetune as train

    options = FinetuneOptions(data, output, model, minutes, original, tuple(overrides or ()))
    check_folder(output)
    scores = train(options, typer.echo)
    for name, each in scores.items():
        show(_table(name, each))
    if worse := [name for name, each in scores.items() if _is_worse(each)]:
        names = ", ".join(worse)
        typer.echo(f"worse than before on {names}: it may take more --minutes or frames", err=True)
    typer.echo(f"wrote {output / 'best'}")


def _is_worse(scores: dict[str, Any]) -> bool:
    before, after = ((scores[when] or {}).get("miou") for when in ("before", "after"))
    return before is not None and after is not None and after < before


def _table(name: str, scores: dict[str, Any]) -> Table:
    from camss_ros.evaluation.formats import percent, result_table

    title = f"{name}, {scores['frames']} frames"
    table = result_table("IoU %", "before", "after", title=title)
    before, after = (scores[when] or {} for when in ("before", "after"))
    for label_class in (before or after).get("per_class_iou", {}):
        cells = (
            percent(each.get("per_class_iou", {}).get(label_class)) for each in (before, after)
        )
        table.add_row(label_class, *cells)
    table.add_section()
    table.add_row("mean", percent(before.get("miou")), percent(after.get("miou")))
    return table
