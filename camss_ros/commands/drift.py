"""`camss-ros drift`: whether frames are like those that a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import DEVICE, check_file, counted_progress, show, warn_of_missing
from camss_ros.commands.train import CONFIG, DATA_ROOT, OVERRIDES, PACKAGES, with_root
from camss_ros.extras import require

MODEL = typer.Option("camss-tiny", help="Bundled name, directory or Hub id.")

app = typer.Typer(
    help="Whether frames are like those that a model was trained on.", no_args_is_help=True
)


@app.command()
def learn(
    model: str = MODEL,
    config: Path = CONFIG,
    root: Optional[Path] = DATA_ROOT,
    overrides: Optional[list[str]] = OVERRIDES,
) -> None:
    """Look at the training frames of a model, and write what they are like beside its weights.

    `train segmenter` and `finetune` do so at their end. The configuration is that of the training,
    the config.yaml of its run: its data.sources are looked at, each as often as its share says.
    """
    require(*PACKAGES)
    from camss_ros.inference.drift import save_reference
    from camss_ros.model.checkpoint import DRIFT_FILE, find_model
    from camss_ros.training.config import SegmenterConfig
    from camss_ros.training.config_files import load_config
    from camss_ros.training.drift import reference_of
    from camss_ros.training.sources import open_training_data

    directory = find_model(model)
    check_file(directory / DRIFT_FILE)
    # the others are not looked at
    changed = ["data.in_memory=false", *with_root(overrides, root)]
    data = load_config(SegmenterConfig, config, changed).data
    reference = reference_of(directory, open_training_data(data, candidates=True))
    save_reference(reference, directory)
    typer.echo(f"wrote {directory / DRIFT_FILE}")


@app.command()
def check(
    sources: list[str] = typer.Argument(
        ..., metavar="SOURCE...", help="Videos, folders of images or images.", show_default=False
    ),
    model: str = MODEL,
    every: int = typer.Option(1, min=1, help="Take every n-th frame."),
    device: str = DEVICE,
) -> None:
    """How many frames are unlike those that the model was trained on."""
    from rich.table import Table

    from camss_ros.evaluation.formats import percent
    from camss_ros.images.frames import open_frames
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import DRIFT_FILE

    opened = [open_frames(source) for source in sources]
    for source, frames in zip(sources, opened, strict=True):
        if frames.endless:
            raise ValueError(f"'{source}' has no end: give videos, folders of images or images")

    def beyond(name: str) -> str:
        values = [getattr(each, name) for each in seen]
        return percent(sum(value > 1 for value in values) / len(values)) if values else "-"

    table = Table(
        "source", "frames", "token distance", "unsure pixels", title="beyond the limit, %"
    )
    segmenter = Segmenter(model, device=device)
    if segmenter.drift_reference is None:
        raise ValueError(f"{model} has no {DRIFT_FILE} of use: `camss-ros drift learn` makes it")
    for source, frames in zip(sources, opened, strict=True):
        seen = []
        with counted_progress() as bar:
            shown = bar.track(frames, total=frames.length, description=source)
            for index, frame in enumerate(shown):
                if index % every == 0:
                    result = segmenter.segment(frame.image)
                    seen.append(segmenter.drift(frame.image, result.confidence))
        warn_of_missing(frames)
        shares = beyond("token_distance"), beyond("unsure_share")
        table.add_row(source, str(len(seen)), *shares)
    show(table)
