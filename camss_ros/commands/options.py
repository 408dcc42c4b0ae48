"""Options that several subcommands share.

Options are defaults here and in all subcommands, and theirs types `Optional`: typer reads them in
`Annotated` and as `X | None` only in versions that Ubuntu 22.04 and 24.04 and Debian 12 don't have.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from camss_ros.extras import MissingPackageError, require, require_node
from camss_ros.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from camss_ros.images.frames import FrameSource

MODEL = typer.Option("camss-tiny", help="Bundled name, directory or Hub id.")
DEFAULT_STEPS = 1  # that of SamplingOptions, which needs torch
STEPS = typer.Option(DEFAULT_STEPS, help="Denoiser evaluations for a token, 1 to 1000.")
SAMPLER = typer.Option("ddim", "--sampler", help="ddim, dpm++2m or ddpm.")
START = typer.Option(950, help="First timestep, 1 to 999.")
TEMPERATURE = typer.Option(0.0, help="Factor of the noise; 0 walks to the mode.")
SAMPLES = typer.Option(1, help="Samples averaged for a frame.")
ITERATIONS = typer.Option(1, help="Masked-autoregressive passes.")
ORDER = typer.Option("confidence", "--order", help="Order of the passes: confidence or random.")
WARM_START_TIME = typer.Option(
    0,
    help="With --clip: timestep, 1 to 999, from which each frame goes on from the latents of "
    "the one before. 0: none does.",
)
SEED = typer.Option(0, min=0, max=LARGEST_SEED, help="Of the noise.")
DEVICE = typer.Option("auto", help="auto, cuda, cuda:N or cpu.")
PRECISION = typer.Option("auto", help="auto, fp32, bf16, fp16 or int8 (openvino).")


def backend_option(default: str) -> Any:
    """The option --backend: `auto` where speed counts, `torch` where labels are compared."""
    return typer.Option(
        default,
        "--backend",
        help="auto, torch, compile, onnxruntime, openvino or tensorrt (docs/speed.md).",
    )


NETWORK_SIZE = typer.Option(
    None,
    metavar="WIDTHxHEIGHT",
    help="Of the frames in the network, multiples of 16; default: the model's own.",
)
DATA = typer.Option(
    ...,
    "--data",
    help="Data set: camvid, camvid32, cityscapes, acdc, acdc-{fog,night,rain,snow}, "
    "kitti-step, cad-edgetune or folder (docs/datasets.md).",
)
ROOT = typer.Option(..., "--root", help="Its folder, laid out as published.")
LABEL_SET = typer.Option(
    None, "--label-set", help="Map the labels onto this label set (name or YAML file)."
)


def command_line(*words: str, **options: object) -> str:
    """`camss-ros WORDS --option value ...` as a shell reads it, by default that of this process.

    Options that are None are left out, of those that are True the name is all. Paths outside the
    working directory are shown by their last part alone: where somebody keeps data is nothing for a
    page that others read.
    """
    parts = list(words or sys.argv[1:])
    for name, value in options.items():
        if value is not None:
            parts += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(["camss-ros", *map(_without_folder, parts)])


def _without_folder(word: str) -> str:
    option, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
    path = Path(value)
    # a topic is no path, though it begins as one: of a path something exists
    outside = path.is_absolute() and any(part.exists() for part in (path, *path.parents[:-1]))
    if outside or ".." in path.parts or value.startswith("~"):
        return f"{option}{equals}PATH/{path.name}"
    return word


def parse_size(option: str, text: str, model: str) -> tuple[int, int]:
    """(height, width) of the value "WIDTHxHEIGHT" of an option.

    Raises ValueError for anything else, and for a size higher than wide where the model's own is
    not: the order was HEIGHTxWIDTH once.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{option} {text!r}: expected WIDTHxHEIGHT in pixels, such as 480x360")
    width, height = int(parts[0]), int(parts[1])
    if height > width and not _is_portrait(model):
        raise ValueError(
            f"{option} {text} is higher than wide, which the images of {model} are not: sizes are "
            f"WIDTHxHEIGHT now, not HEIGHTxWIDTH; is {height}x{width} meant?"
        )
    return height, width


def parse_network_size(text: str | None, model: str) -> tuple[int, int] | None:
    """(height, width) of the option --network-size, None without it; errors as `parse_size`."""
    return None if text is None else parse_size("--network-size", text, model)


def _is_portrait(model: str) -> bool:
    """Whether the model's own size is higher than wide; not if it can't be found."""
    from camss_ros.model.checkpoint import CONFIG_FILE, ModelError, find_model, read_config

    try:
        height, width = read_config(find_model(model) / CONFIG_FILE).input_size
    except ModelError:
        return False
    return height > width


def need(*modules: str) -> None:
    """End as `fail` where one of the modules is not installed, before any work."""
    try:
        require(*modules)
    except MissingPackageError as error:
        fail(error)


def need_node() -> None:
    """End as `fail` where the node cannot run here."""
    try:
        require_node()
    except MissingPackageError as error:
        fail(error)


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
