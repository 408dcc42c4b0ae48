"""The `camss-ros` command: every subcommand, each importing what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    help="Generative semantic segmentation (CAM-Seg) for ROS 2.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _main() -> None:
    """Generative semantic segmentation (CAM-Seg) for ROS 2."""


@app.command()
def evaluate(
    data: Annotated[str, typer.Option(help="Data set: camvid.")],
    root: Annotated[Path, typer.Option(help="Its folder, with SPLIT/images and SPLIT/labels.")],
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    model: Annotated[str, typer.Option(help="Bundled name, directory or Hub id.")] = "camss-tiny",
    steps: Annotated[int, typer.Option(help="Denoiser evaluations for a token.")] = 4,
    sampler: Annotated[str, typer.Option(help="ddim, dpm++2m or ddpm.")] = "ddim",
    start: Annotated[int, typer.Option(help="First timestep.")] = 950,
    temperature: Annotated[float, typer.Option(help="Factor of the noise; 0: the mode.")] = 0.0,
    samples: Annotated[int, typer.Option(help="Samples averaged for a frame.")] = 1,
    iterations: Annotated[int, typer.Option(help="Masked-autoregressive passes.")] = 1,
    order: Annotated[str, typer.Option(help="confidence or random: order of the passes.")] = (
        "confidence"
    ),
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the scores to FILE.")
    ] = None,
) -> None:
    """Score a model on a labelled data set: mIoU, precision, pixel accuracy."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import Progress

    from camss_ros.data.folder import LabeledFolder
    from camss_ros.data.label_sets import load_label_set
    from camss_ros.evaluation.evaluate import evaluate as score
    from camss_ros.evaluation.evaluate import label_set_of, report, score_table
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import ModelError
    from camss_ros.model.schedule import SamplingOptions

    console = Console()
    choices: dict[str, Any] = {"sampler": sampler, "order": order}
    if json_path is not None and not json_path.parent.is_dir():
        _fail(f"can't write {json_path}: there is no folder {json_path.parent}")
    try:
        label_set = load_label_set(label_set_of(data))
        frames = LabeledFolder(root, split, label_set)
        sampling = SamplingOptions(
            steps=steps, start=start, temperature=temperature, samples=samples,
            iterations=iterations, **choices,
        )  # fmt: skip
        segmenter = Segmenter(
            model, device=device, precision=precision, sampling=sampling, seed=seed
        )
        height, width = frames[0][0].shape[:2]
        segmenter.warm_up(height, width)
        with Progress(console=console) as bar:
            task = bar.add_task(f"{data} {split}", total=len(frames))
            result = score(
                segmenter, frames, label_set,
                progress=lambda done: bar.update(task, completed=done),
            )  # fmt: skip
    except (ModelError, ValueError) as error:
        _fail(str(error))
    console.print(score_table(result, label_set))
    if json_path is not None:
        content = report(
            result, label_set,
            data={"name": data, "root": str(root), "split": split},
            model={
                "name": segmenter.model_name,
                "source": model,
                "device": str(segmenter.device),
                "dtype": str(segmenter.dtype).removeprefix("torch."),
            },
            sampling={**asdict(sampling), "seed": seed},
        )  # fmt: skip
        json_path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        console.print(f"wrote {json_path}", highlight=False)


@app.command()
def segment(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Video, image, image folder (images/ and labels/ below it: scored), or synthetic.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for masks, overlays and the summary.")],
    model: Annotated[str, typer.Option(help="Bundled name, directory or Hub id.")] = "camss-tiny",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 4,
    sampler: Annotated[str, typer.Option(help="ddim, dpm++2m or ddpm.")] = "ddim",
    samples: Annotated[int, typer.Option(help="Samples averaged for each frame.")] = 1,
    temperature: Annotated[float, typer.Option(help="Noise: 0 walks towards the mode.")] = 0.0,
    iterations: Annotated[int, typer.Option(help="Passes of autoregressive decoding.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the sampling noise.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
) -> None:
    """Segment an image, an image folder or a video into files; run again, it goes on."""
    import dataclasses

    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from camss_ros.data.frames import open_frames
    from camss_ros.evaluation.segment_files import segment_files
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import ModelError
    from camss_ros.model.schedule import SamplingOptions

    try:
        sampling = SamplingOptions(
            steps=steps,
            sampler=sampler,  # type: ignore[arg-type]  # checked there
            samples=samples,
            temperature=temperature,
            iterations=iterations,
        )
        segmenter = Segmenter(
            model, device=device, precision=precision, sampling=sampling, seed=seed
        )
        opened = open_frames(source, classes=len(segmenter.classes))
        settings = {
            "input": source if opened.endless else str(Path(source).resolve()),
            "model": model,
            "precision": str(segmenter.dtype).removeprefix("torch."),
            "sampling": dataclasses.asdict(sampling),
            "seed": seed,
        }
        total = min((n for n in (opened.length, frames) if n is not None), default=None)
        with Progress(
            *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()
        ) as progress:
            task = progress.add_task("segmenting", total=total)
            summary = segment_files(
                segmenter, opened, output, settings, frames, lambda: progress.advance(task)
            )
    except (OSError, ValueError, ModelError) as error:
        _fail(str(error))
    typer.echo(f"{summary['frames']} frames in '{output}'")
    if summary["skipped_files"]:
        typer.echo(f"{len(summary['skipped_files'])} files could not be read", err=True)


@app.command()
def demo(
    source: Annotated[
        str,
        typer.Option(
            "--input",
            help="Video, image folder (images/ and labels/ below it: scored), or "
            "synthetic[:dusk|:fog].",
        ),
    ] = "synthetic",
    output: Annotated[Path, typer.Option(help="Folder for video, pictures and report.")] = (
        Path("out/demo")
    ),
    rate: Annotated[float, typer.Option(min=0, help="Frames sent a second; 0: its own.")] = 4.0,
    frames: Annotated[int, typer.Option(min=1, help="Frames sent at most.")] = 200,
    model: Annotated[str, typer.Option(help="Bundled name, directory or Hub id.")] = "camss-tiny",
    steps: Annotated[int, typer.Option(help="Denoiser evaluations for a token.")] = 4,
    sampler: Annotated[str, typer.Option(help="ddim, dpm++2m or ddpm.")] = "ddim",
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
) -> None:
    """Play an input through the segmenter node over DDS; leaves a video and a report."""
    import signal
    import sys
    import tempfile

    from rich.console import Console
    from rich.progress import Progress

    from camss_ros.data.frames import open_frames
    from camss_ros.data.recording import Recording
    from camss_ros.data.save_frames import save_frames
    from camss_ros.evaluation.demo_report import report_table, write_report
    from camss_ros.model.checkpoint import CONFIG_FILE, ModelError, find_model, read_config
    from camss_ros.model.schedule import SamplingOptions
    from camss_ros.nodes.child_process import ChildFailedError
    from camss_ros.nodes.demo import DemoError, record_demo

    # Ends the two nodes too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console()
    try:
        SamplingOptions(steps=steps, sampler=sampler)  # type: ignore[arg-type]  # checked there
        classes = read_config(find_model(model) / CONFIG_FILE).label_set
        opened = open_frames(source, classes=len(classes))
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder, Progress(console=console) as bar:
            path = source
            if opened.endless:
                # Drawn beforehand: it takes about as long as segmenting, on the same processor.
                task = bar.add_task("drawing the street", total=frames)
                save_frames(opened, Path(folder), frames, lambda: bar.advance(task))
                path, street = folder, opened
                opened = open_frames(folder, classes=len(classes))
                opened.label_set = street.label_set
            count = min(frames, opened.length or frames)
            sending = bar.add_task("frames sent", total=count)
            segmenting = bar.add_task("masks received", total=count)

            def on_progress(recording: Recording) -> None:
                bar.update(sending, completed=len(recording.sent))
                bar.update(segmenting, completed=len(recording.masks))

            recording = record_demo(
                path,
                rate=rate,
                frames=frames,
                segmenter={"model": model, "steps": steps, "sampler": sampler, "device": device},
                logs=output,
                on_progress=on_progress,
            )
            if not recording.masks:
                _fail(f"not one mask came back; see the logs in '{output}'")
            report = write_report(recording, opened, classes, output, {"input": source})
    except (OSError, ValueError, ModelError, ChildFailedError, DemoError) as error:
        _fail(str(error))
    console.print(report_table(report))
    console.print(f"wrote overlay.mp4, contact_sheet.png and report.json to '{output}'")


def _fail(message: str) -> NoReturn:
    """End with exit code 1 and the message on stderr."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
