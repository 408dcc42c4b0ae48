"""`camss-ros segment`."""

from pathlib import Path
from typing import Annotated

import typer

from camss_ros.commands.options import (
    DEFAULT_STEPS,
    BackendName,
    Device,
    Iterations,
    Model,
    NetworkSize,
    Precision,
    SamplerName,
    Samples,
    Seed,
    Steps,
    Temperature,
    fail,
    parse_network_size,
    tell_missing,
)


def segment(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Video, image, image folder (images/ and labels/ below it: scored), or synthetic.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for masks, overlays and the summary.")],
    model: Model = "camss-tiny",
    steps: Steps = DEFAULT_STEPS,
    sampler: SamplerName = "ddim",
    samples: Samples = 1,
    temperature: Temperature = 0.0,
    iterations: Iterations = 1,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: BackendName = "torch",
    network_size: NetworkSize = None,
    seed: Seed = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
) -> None:
    """Segment an image, an image folder or a video into files; run again, it goes on."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from camss_ros.data.frames import open_frames
    from camss_ros.evaluation.bag_run import NetworkChoice
    from camss_ros.evaluation.result_folder import files_hash
    from camss_ros.evaluation.segment_files import segment_files
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
        network = NetworkChoice(
            model, sampling, seed, device, precision, backend, parse_network_size(network_size)
        )
        wanted = network.settings()
        segmenter = network.load()
        opened = open_frames(source, classes=len(segmenter.classes))
        settings = {
            "input": source if opened.endless else str(Path(source).resolve()),
            "input_sha256": files_hash(opened.files),
            **wanted,
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
        fail(error)
    typer.echo(f"{summary['frames']} frames in '{output}'")
    tell_missing(opened)
