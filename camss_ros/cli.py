"""The `camss-ros` command: every subcommand, each importing what it needs when it runs."""

from pathlib import Path
from typing import Annotated

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
        raise _failure(error) from error
    typer.echo(f"{summary['frames']} frames in '{output}'")
    if summary["skipped_files"]:
        typer.echo(f"{len(summary['skipped_files'])} files could not be read", err=True)


def _failure(error: Exception) -> typer.Exit:
    """Say what is wrong; the exit to raise."""
    typer.echo(f"camss-ros: {error}", err=True)
    return typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
