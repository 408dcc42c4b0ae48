"""Options that several subcommands share."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from camss_ros.data.frames import FrameSource

Model = Annotated[str, typer.Option(help="Bundled name, directory or Hub id.")]
DEFAULT_STEPS = 1  # that of SamplingOptions, which needs torch
Steps = Annotated[int, typer.Option(help="Denoiser evaluations for a token, 1 to 1000.")]
SamplerName = Annotated[str, typer.Option("--sampler", help="ddim, dpm++2m or ddpm.")]
Start = Annotated[int, typer.Option(help="First timestep, 1 to 999.")]
Temperature = Annotated[float, typer.Option(help="Factor of the noise; 0 walks to the mode.")]
Samples = Annotated[int, typer.Option(help="Samples averaged for a frame.")]
Iterations = Annotated[int, typer.Option(help="Masked-autoregressive passes.")]
RevealOrder = Annotated[
    str, typer.Option("--order", help="Order of the passes: confidence or random.")
]
WarmStartTime = Annotated[
    int,
    typer.Option(
        help="With --clip: timestep, 1 to 999, from which each frame goes on from the latents of "
        "the one before. 0: none does."
    ),
]
Seed = Annotated[int, typer.Option(help="Of the noise.")]
Device = Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8 (openvino).")]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        help="auto, torch, compile, onnxruntime, openvino or tensorrt (docs/speed.md).",
    ),
]
NetworkSize = Annotated[
    str | None,
    typer.Option(
        metavar="HEIGHTxWIDTH",
        help="Of the frames in the network, multiples of 16; default: the model's own.",
    ),
]
DataName = Annotated[
    str,
    typer.Option(
        "--data",
        help="Data set: camvid, camvid32, cityscapes, acdc, acdc-{fog,night,rain,snow}, "
        "kitti-step, cad-edgetune or folder (docs/datasets.md).",
    ),
]
DataRoot = Annotated[Path, typer.Option("--root", help="Its folder, laid out as published.")]
DataLabels = Annotated[
    str | None,
    typer.Option("--label-set", help="Map the labels onto this label set (name or YAML file)."),
]


def command_line() -> str:
    """The command line of this process, to be typed again."""
    return shlex.join(["camss-ros", *sys.argv[1:]])


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "HEIGHTxWIDTH"; a ValueError says what is wrong with it."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"size {text!r}: expected HEIGHTxWIDTH in pixels, such as 360x480")
    return int(parts[0]), int(parts[1])


def parse_network_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of the option --network-size, None without it; errors as `parse_size`."""
    return None if text is None else parse_size(text)


def tell_missing(source: FrameSource) -> None:
    """Say on stderr how much of an input could not be read."""
    if source.skipped:
        typer.echo(f"{len(source.skipped)} files could not be read", err=True)
    if source.missing:
        typer.echo(f"{source.missing} frames of the video are missing", err=True)


def fail(error: Exception | str) -> NoReturn:
    """End with exit code 1 and the message on stderr."""
    typer.echo(f"camss-ros: {error}", err=True)
    raise typer.Exit(1)
