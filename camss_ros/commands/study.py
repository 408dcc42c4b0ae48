"""`camss-ros study`: comparisons that take many runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from camss_ros.commands.options import (
    DATA,
    DEVICE,
    LABEL_SET,
    ROOT,
    SPLIT,
    check_folder,
    check_page,
    command_line,
    counted_progress,
    fail,
    progress_row,
    shown_part,
)
from camss_ros.commands.segmenter_options import SegmenterSpec, scored_model, segmenter_options
from camss_ros.commands.study_cityscapes import cityscapes
from camss_ros.commands.study_projection import projection
from camss_ros.extras import require, require_node

if TYPE_CHECKING:
    from camss_ros.lab.sampling_study import SamplingStudy

app = typer.Typer(
    help="Comparisons of many runs, as a page, a plot and JSON. But for `projection`, which takes "
    "minutes, the same command goes on where a killed one stopped.",
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
    split: str = SPLIT,
    label_set: Optional[str] = LABEL_SET,
    every: int = typer.Option(1, min=1, help="Take every n-th frame."),
    *,
    spec: SegmenterSpec,
) -> None:
    """Scores against sampling steps and sampler, and one-pass against iterative decoding."""
    from camss_ros.lab.step_study import study_steps

    check_folder(output)
    page = output / "steps.md"
    _study_sampling(
        study_steps, spec, data, root, split, label_set, page, every, {"seed": spec.seed}
    )


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
    from camss_ros.lab.warm_start import study_warm_start

    check_page(output)
    _study_sampling(study_warm_start, spec, data, root, split, label_set, output)


def _study_sampling(
    run: Callable[[SamplingStudy], None],
    spec: SegmenterSpec,
    data: str,
    root: Path,
    split: str,
    label_set: str | None,
    page: Path,
    every: int | None = None,
    more_settings: dict[str, Any] | None = None,
) -> None:
    """Run a study whose rows are scores of the model on every n-th frame of a data set."""
    require("matplotlib")
    from camss_ros.evaluation.evaluate import open_labelled
    from camss_ros.evaluation.result_folder import fingerprint
    from camss_ros.lab.sampling_study import SamplingStudy

    labelled = open_labelled(data, root, split, label_set, every or 1)
    segmenter = spec.open()
    settings = {
        "data": {
            "name": data,
            "split": split,
            "label_set": labelled.label_set.name,
            **({} if every is None else {"every": every}),
            "frames": len(labelled.frames),
            "files_fingerprint": fingerprint(labelled.files),
        },
        "model": scored_model(spec, "dtype"),
        **(more_settings or {}),
    }
    with progress_row("frames of all rows") as step:
        run(SamplingStudy(
            segmenter, labelled.frames, labelled.label_set, page, settings, command_line(), step
        ))  # fmt: skip
    typer.echo(f"wrote {page}")


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
    require("matplotlib")
    import torch

    from camss_ros.evaluation.evaluate import open_labelled
    from camss_ros.evaluation.result_folder import fingerprint
    from camss_ros.inference.device import select_device, select_dtype
    from camss_ros.lab.kl_vs_vq import study_kl_vs_vq
    from camss_ros.lab.mask_autoencoders import variants
    from camss_ros.lab.train_masks import MaskTraining
    from camss_ros.model.autoencoder import MaskAutoencoderConfig

    check_folder(output)
    selected = select_device(device)
    bf16 = select_dtype("auto", selected) == torch.bfloat16
    training = MaskTraining(steps, batch, crop, bf16=bf16, device=str(selected))
    splits = [open_labelled(data, root, split, label_set, every) for split in ("train", "val")]
    with counted_progress(transient=True) as bar:
        train, held_out = (
            [frames[i][1] for i in bar.track(range(len(frames)), description="reading labels")]
            for frames in (split.frames for split in splits)
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
            "files_fingerprint": [fingerprint(each.files) for each in splits],
        },
    }
    with counted_progress() as bar:
        total = len(variants(MaskAutoencoderConfig())) * seeds * steps
        task = bar.add_task("steps of all runs", total=total)
        done: dict[str, int] = {}

        def progress(run: str, step: int) -> None:
            done[run] = step
            bar.update(task, completed=sum(done.values()), description=run)

        study_kl_vs_vq(
            train, held_out, splits[0].label_set, output, settings, command_line(), training,
            seeds, progress=progress,
        )  # fmt: skip
    typer.echo(f"wrote {output / 'kl_vs_vq.md'}")


@app.command()
@segmenter_options("model", "steps", "device", "precision", "backend", backend="auto")
def speed(
    output: Path = OUTPUT,
    data: Optional[list[str]] = typer.Option(
        None,
        help="Data set to score on, as of `steps`; once for each. All but the sizes are scored on "
        "the first. Default: no scores.",
    ),
    root: Optional[list[Path]] = typer.Option(None, help="Its folder; one for each --data."),
    split: str = typer.Option("val", help="Split of the data sets."),
    clip: bool = typer.Option(
        False, "--clip", help="The first one's frames are a clip, in order: score a warm start."
    ),
    every: int = typer.Option(1, min=1, help="Score every n-th frame."),
    section: Optional[list[str]] = typer.Option(
        None,
        help="Measure these sections only, by their keys in speed.json (sizes, offline, ...); "
        "others are shown where they were measured before, of the same --data.",
    ),
    *,
    spec: SegmenterSpec,
) -> None:
    """What is promised about speed: against the official procedure, in the node, over time."""
    require_node()
    from dataclasses import replace

    from camss_ros.evaluation.evaluate import named_apart, open_labelled
    from camss_ros.lab.speed_section import SpeedSettings
    from camss_ros.lab.speed_study import SECTIONS, study_speed
    from camss_ros.model.checkpoint import find_config, weights_hash

    if len(data or []) != len(root or []):
        fail("--data and --root go together: one --root for each --data")
    if clip and not data:
        fail("--clip says what the frames of --data are")
    if clip and every > 1:
        fail("--clip takes every frame: leave --every out, or measure the rest by itself")
    known = {each.key: each for each in SECTIONS}
    for key in section or []:
        if key not in known:
            fail(f"no section {key!r}: expected one of {', '.join(known)}")
    check_folder(output)
    shown = f" (1 of {every} frames)" if every > 1 else ""
    opened = [
        open_labelled(name, folder, split, every=every)
        for name, folder in zip(data or [], root or [], strict=True)
    ]
    labelled = [
        replace(each, name=f"{each.name}{shown}", clip=clip and index == 0)
        for index, each in enumerate(named_apart(opened))
    ]
    first = labelled[0] if labelled else None
    for key in section or []:
        if missing := known[key].lacks(first):
            fail(f"--section {key!r} needs --{missing}")
    settings = SpeedSettings(spec)
    model = {"name": find_config(spec.model).name, "sha256": weights_hash(spec.model)}
    with shown_part() as show_part:
        left_out = study_speed(
            settings, output, model, command_line(),
            first,
            others=tuple(labelled[1:]),
            only=section,
            progress=show_part,
        )  # fmt: skip
    for title, missing in left_out.items():
        typer.echo(f"left out for lack of --{missing}: {title}")
    typer.echo(f"wrote {output / 'speed.md'}")


@app.command()
def gpu(
    output: Path = OUTPUT,
    minutes: float = typer.Option(
        5.0, min=0.5, help="It ends by then; what there is no time for is left out."
    ),
    model: str = typer.Option("camss-tiny", help="Small model: bundled name, directory or Hub id."),
    input_path: Optional[str] = typer.Option(
        None,
        "--input",
        metavar="PATH",
        help="Frames to compare labels on: video, image or folder. Default: the synthetic street.",
    ),
    device: str = typer.Option("cuda", "--device", help="cuda or cuda:N."),
) -> None:
    """A CUDA GPU: labels against the CPU's, times, the official procedure, launches, the node."""
    import time

    end = time.monotonic() + 60 * minutes
    require("matplotlib")

    from camss_ros.images.frames import open_frames
    from camss_ros.inference.device import select_device
    from camss_ros.lab.gpu_parts import GpuSettings
    from camss_ros.lab.gpu_study import study_gpu
    from camss_ros.model.checkpoint import find_model

    if select_device(device).type != "cuda":
        fail(f"--device is {device!r}: this study measures a CUDA GPU, expected cuda or cuda:N")
    find_model(model)
    if input_path is not None:
        open_frames(input_path)
    check_folder(output)
    with shown_part() as show_part:
        missing = study_gpu(
            GpuSettings(model=model, device=device, input=input_path),
            output,
            end - time.monotonic(),
            command_line(),
            show_part,
        )
    for title, reason in missing.items():
        typer.echo(f"not measured: {title}: {reason}")
    typer.echo(f"wrote {output / 'gpu.md'}")
