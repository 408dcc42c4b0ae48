"""Options that several subcommands share.

Options are defaults here and in all subcommands, and theirs types `Optional`: typer reads them in
`Annotated` and as `X | None` only in versions that Ubuntu 22.04 and 24.04 and Debian 12 don't have.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from camss_ros.extras import MissingPackageError, require, require_node

if TYPE_CHECKING:
    from camss_ros.images.frames import FrameSource

DEVICE = typer.Option("auto", help="auto, cuda, cuda:N or cpu.")
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
