"""`camss-ros study`: comparisons that take many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from camss_ros.commands.options import (
    DataLabels,
    DataName,
    DataRoot,
    Device,
    Model,
    Precision,
    Seed,
    fail,
)

app = typer.Typer(
    help="Comparisons of many runs, as a page, a plot and JSON. The same command goes on where a "
    "killed one stopped.",
    no_args_is_help=True,
)

Output = Annotated[Path, typer.Option(help="Folder of page, plot and JSON.")]


@app.command()
def steps(
    data: DataName,
    root: DataRoot,
    output: Output,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    label_set: DataLabels = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th frame.")] = 1,
    model: Model = "camss-tiny",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Scores against sampling steps and sampler, and one-pass against iterative decoding."""
    from rich.progress import Progress

    from camss_ros.data.datasets import open_data
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import ModelError, weights_hash
    from camss_ros.studies.page import command_line
    from camss_ros.studies.step_study import EveryNth, study_steps

    command = command_line(
        "study", "steps", data=data, root=root, split=split, label_set=label_set,
        every=None if every == 1 else every, model=Path(model) if "/" in model else model,
        seed=seed or None, output=output,
    )  # fmt: skip
    try:
        labelled = open_data(data, root, split, label_set)
        frames = EveryNth(labelled, every)
        segmenter = Segmenter(model, device=device, precision=precision, seed=seed)
        settings = {
            "data": {
                "name": data,
                "split": split,
                "label_set": labelled.label_set.name,
                "every": every,
                "frames": len(frames),
            },
            "model": {
                "name": segmenter.model_name,
                "sha256": weights_hash(model),
                "dtype": str(segmenter.dtype).removeprefix("torch."),
            },
            "seed": seed,
        }
        with Progress() as bar:
            task = bar.add_task("frames of all rows", total=None)
            study_steps(
                segmenter, frames, labelled.label_set, output, settings, command,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
    except (ModelError, ValueError, OSError) as error:
        fail(error)
    typer.echo(f"wrote {output / 'steps.md'}")
