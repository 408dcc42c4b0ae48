"""`camss-ros study`: comparisons that take many runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.checks import check_folder
from camss_ros.commands.options import (
    DATA,
    DEVICE,
    LABEL_SET,
    ROOT,
    command_line,
    fail,
    need,
    need_node,
)
from camss_ros.commands.segmenter_options import segmenter_options
from camss_ros.commands.study_cityscapes import cityscapes
from camss_ros.commands.study_projection import projection

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec

app = typer.Typer(
    help="Comparisons of many runs, as a page, a plot and JSON. The same command goes on where a "
    "killed one stopped.",
    no_args_is_help=True,
)

app.command()(cityscapes)
app.command()(projection)

OUTPUT = typer.Option(..., help="Folder of page, plot and JSON.")


@app.command()
@segmenter_options("model", "seed", "device", "precision")
def steps(
    data: str = DATA,
    root: Path = ROOT,
    output: Path = OUTPUT,
    split: str = typer.Option("val", help="Split of the data set."),
    label_set: Optional[str] = LABEL_SET,
    every: int = typer.Option(1, min=1, help="Take every n-th frame."),
    *,
    spec: SegmenterSpec,
) -> None:
    """Scores against sampling steps and sampler, and one-pass against iterative decoding."""
    need("matplotlib")
    from rich.progress import Progress

    from camss_ros.datasets.datasets import open_data
    from camss_ros.evaluation.evaluate import EveryNth
    from camss_ros.lab.step_study import study_steps
    from camss_ros.model.checkpoint import ModelError

    command = command_line(
        "study", "steps", data=data, root=root, split=split, label_set=label_set,
        every=None if every == 1 else every, model=_shown_model(spec),
        seed=spec.seed or None, output=output,
    )  # fmt: skip
    try:
        check_folder(output)
        labelled = open_data(data, root, split, label_set)
        frames = EveryNth(labelled, every)
        segmenter = spec.open()
        settings = {
            "data": {
                "name": data,
                "split": split,
                "label_set": labelled.label_set.name,
                "every": every,
                "frames": len(frames),
            },
            "model": _model_of(spec),
            "seed": spec.seed,
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


@app.command("warm-start")
@segmenter_options("model", "device", "precision")
def warm_start(
    data: str = DATA,
    root: Path = ROOT,
    output: Path = typer.Option(
        ..., metavar="FILE", help="The page (.md); plot and JSON are put beside it."
    ),
    split: str = typer.Option("val", help="Split of the data set; one clip, in order."),
    label_set: Optional[str] = LABEL_SET,
    *,
    spec: SegmenterSpec,
) -> None:
    """Scores and flicker of a clip whose frames begin from the latents of the one before."""
    need("matplotlib")
    from rich.progress import Progress

    from camss_ros.datasets.datasets import open_data
    from camss_ros.lab.warm_start import study_warm_start
    from camss_ros.model.checkpoint import ModelError

    if output.suffix != ".md":
        fail(f"can't write {output}: expected a file whose name ends in .md")
    command = command_line(
        "study", "warm-start", data=data, root=root, split=split, label_set=label_set,
        model=_shown_model(spec), output=output,
    )  # fmt: skip
    try:
        check_folder(output.parent)
        clip = open_data(data, root, split, label_set)
        segmenter = spec.open()
        settings = {
            "data": {
                "name": data,
                "split": split,
                "label_set": clip.label_set.name,
                "frames": len(clip),
            },
            "model": _model_of(spec),
        }
        with Progress() as bar:
            task = bar.add_task("frames of all rows", total=None)
            study_warm_start(
                segmenter, clip, clip.label_set, output, settings, command,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
    except (ModelError, ValueError, OSError) as error:
        fail(error)
    typer.echo(f"wrote {output}")


def _model_of(spec: SegmenterSpec) -> dict[str, str]:
    """What scores depend on of a model, as JSON values."""
    model = spec.describe()["model"]
    return {key: model[key] for key in ("name", "sha256", "dtype")}


def _shown_model(spec: SegmenterSpec) -> Path | str:
    """For `command_line`, which shows no more than the last part of a path."""
    name = str(spec.model)
    return Path(name) if "/" in name else name


@app.command("kl-vs-vq")
def kl_vs_vq(
    data: str = DATA,
    root: Path = ROOT,
    output: Path = OUTPUT,
    label_set: Optional[str] = LABEL_SET,
    steps: int = typer.Option(500, min=1, help="Optimizer steps of a run."),
    seeds: int = typer.Option(3, min=1, help="Runs of each of the five variants."),
    crop: int = typer.Option(128, help="Side of the crops, a multiple of 16."),
    batch: int = typer.Option(8, min=2, help="Crops a step."),
    every: int = typer.Option(1, min=1, help="Take every n-th label image."),
    device: str = DEVICE,
) -> None:
    """Label images through continuous and quantised latents, as one-hot labels and as colours."""
    need("matplotlib")
    import torch
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn, track

    from camss_ros.datasets.datasets import open_data
    from camss_ros.evaluation.evaluate import EveryNth
    from camss_ros.inference.device import select_device, select_dtype
    from camss_ros.lab.kl_vs_vq import study_kl_vs_vq
    from camss_ros.lab.mask_autoencoders import variants
    from camss_ros.lab.train_masks import MaskTraining, StudyError
    from camss_ros.model.autoencoder import MaskAutoencoderConfig

    command = command_line(
        "study", "kl-vs-vq", data=data, root=root, label_set=label_set, steps=steps, seeds=seeds,
        crop=crop, batch=batch, every=None if every == 1 else every, output=output,
    )  # fmt: skip
    try:
        check_folder(output)
        selected = select_device(device)
        bf16 = select_dtype("auto", selected) == torch.bfloat16
        training = MaskTraining(steps, batch, crop, bf16=bf16, device=str(selected))
        splits = [open_data(data, root, split, label_set) for split in ("train", "val")]
        train, held_out = (
            [frames[i][1] for i in track(range(len(frames)), "reading labels", transient=True)]
            for frames in (EveryNth(split, every) for split in splits)
        )
        settings = {
            "data": {
                "name": data,
                "label_set": splits[0].label_set.name,
                "train": "train",
                "held_out": "val",
                "every": every,
                "train_frames": len(train),
                "held_out_frames": len(held_out),
            },
        }
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            total = len(variants(MaskAutoencoderConfig())) * seeds * steps
            task = bar.add_task("steps of all runs", total=total)
            done: dict[str, int] = {}

            def progress(run: str, step: int) -> None:
                done[run] = step
                bar.update(task, completed=sum(done.values()), description=run)

            study_kl_vs_vq(
                train, held_out, splits[0].label_set, output, settings, command, training, seeds,
                progress=progress,
            )  # fmt: skip
    except (ValueError, OSError, StudyError) as error:
        fail(error)
    typer.echo(f"wrote {output / 'kl_vs_vq.md'}")


@app.command()
@segmenter_options("model", "steps", "device", "precision", "backend", backend="auto")
def speed(
    output: Path = OUTPUT,
    data: Optional[str] = typer.Option(
        None, help="Data set to score on, as of `steps`. Default: no scores."
    ),
    root: Optional[Path] = typer.Option(None, help="Its folder."),
    split: str = typer.Option("val", help="Split of the data set."),
    clip: bool = typer.Option(
        False, "--clip", help="Its frames are one clip, in order: score a warm start."
    ),
    *,
    spec: SegmenterSpec,
) -> None:
    """What is promised about speed: against the official procedure, in the node, over time."""
    import signal
    import sys

    need_node()
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from camss_ros.datasets.datasets import open_data
    from camss_ros.lab.speed_section import LabelledData, SpeedSettings
    from camss_ros.lab.speed_study import study_speed
    from camss_ros.model.checkpoint import (
        CONFIG_FILE,
        ModelError,
        find_model,
        read_config,
        weights_hash,
    )
    from camss_ros.model.schedule import SamplingOptions
    from camss_ros.nodes.harness.child_process import ChildFailedError

    # Removes the temporary folders, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if (data is None) != (root is None):
        fail("--data and --root go together")
    if clip and data is None:
        fail("--clip says what the frames of --data are")
    command = command_line(
        "study", "speed", data=data, root=root, split=None if data is None else split,
        clip=clip or None,
        model=_shown_model(spec),
        steps=None if spec.sampling == SamplingOptions() else spec.sampling.steps,
        device=None if spec.device == "auto" else spec.device,
        precision=None if spec.precision == "auto" else spec.precision,
        backend=None if spec.backend == "auto" else spec.backend, output=output,
    )  # fmt: skip
    try:
        check_folder(output)
        labelled = None
        if data is not None and root is not None:
            frames = open_data(data, root, split)
            labelled = LabelledData(f"{data} {split}", frames, frames.label_set, clip)
        settings = SpeedSettings(spec)
        config = read_config(find_model(spec.model) / CONFIG_FILE)
        model = {"name": config.name, "sha256": weights_hash(spec.model)}
        with Progress(TextColumn("{task.description}"), TimeElapsedColumn()) as bar:
            task = bar.add_task("")
            left_out = study_speed(
                settings, output, model, command, labelled,
                progress=lambda doing: bar.update(task, description=doing),
            )  # fmt: skip
    except (ModelError, ValueError, OSError, ChildFailedError) as error:
        fail(error)
    for title, missing in left_out.items():
        typer.echo(f"left out for lack of --{missing}: {title}")
    typer.echo(f"wrote {output / 'speed.md'}")
