"""Options that several subcommands share.

Options are defaults here and in all subcommands, and theirs types `Optional`: typer reads them in
`Annotated` and as `X | None` only in versions that Ubuntu 22.04 and 24.04 and Debian 12 don't have.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from camss_ros.images.frames import FrameSource

DEVICE = typer.Option("auto", help="auto, cuda, cuda:N or cpu.")
DATA = typer.Option(
    ...,
    "--data",
    help="Data set: camvid, camvid32, cityscapes, acdc, acdc-fog, acdc-night, acdc-rain, "
    "acdc-snow, kitti-step, cad-edgetune or folder (docs/datasets.md).",
)
ROOT = typer.Option(..., "--root", help="Its folder, laid out as published.")
SPLIT = typer.Option("val", help="Split of the data set.")
LABEL_SET = typer.Option(
    None, "--label-set", help="Map the labels onto this label set (name or YAML file)."
)


def command_line() -> str:
    """The command line of this process, as a shell reads it.

    Of paths outside the working directory only the last part is in it: a page that others read
    should not say where somebody keeps data.
    """
    return shlex.join(["camss-ros", *map(_without_folder, sys.argv[1:])])


def _without_folder(word: str) -> str:
    option, equals, value = word.partition("=")
    if not equals or "/" in option:  # in a path it is part of a name
        option, equals, value = "", "", word
    # of DATA:ROOT:SPLIT each for itself
    return f"{option}{equals}{':'.join(map(_without_parents, value.split(':')))}"


def _without_parents(text: str) -> str:
    path = Path(text)
    # a topic is no path, though it begins as one: of a path something exists
    outside = path.is_absolute() and any(part.exists() for part in (path, *path.parents[:-1]))
    return f"PATH/{path.name}" if outside or ".." in path.parts or text.startswith("~") else text


def parse_size(option: str, text: str) -> tuple[int, int]:
    """(height, width) of the value "WIDTHxHEIGHT" of an option. Raises ValueError."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{option} {text!r}: expected WIDTHxHEIGHT in pixels, such as 480x360")
    width, height = int(parts[0]), int(parts[1])
    return height, width


def counted_progress(**options: Any) -> Progress:
    """A progress bar with the number done and the time that is left, on stderr.

    `options` are those of `Progress`.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    what = TextColumn("{task.description}", style="progress.description", markup=False)
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), **options)


@contextmanager
def progress_row(
    description: str, total: int | None = None, **options: Any
) -> Iterator[Callable[..., None]]:
    """A `counted_progress` of one row, as what moves it on.

    Called without arguments it is one step further, called with the number done, and the total if
    that is known only then, it is there.
    """
    with counted_progress(**options) as bar:
        task = bar.add_task(description, total=total)

        def step(done: int | None = None, total: int | None = None) -> None:
            advance = 1 if done is None else None
            bar.update(task, advance=advance, completed=done, total=total)

        yield step


@contextmanager
def shown_part() -> Iterator[Callable[[str], None]]:
    """Show on stderr what is being done, which the function is told, and for how long already."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("")
        yield lambda doing: bar.update(task, description=doing)


def show(*tables: Table) -> None:
    """Print tables on stdout; names in brackets are no markup."""
    from rich.console import Console

    Console(markup=False).print(*tables)


def warn_of_missing(source: FrameSource) -> None:
    """Say on stderr how much of an input could not be read."""
    if source.skipped:
        typer.echo(f"{len(source.skipped)} files could not be read", err=True)
    if source.missing:
        typer.echo(f"{source.missing} frames of the video are missing", err=True)


def fail(error: Exception | str) -> NoReturn:
    """End with exit code 1 and the message on stderr."""
    typer.echo(f"camss-ros: {error}", err=True)
    raise typer.Exit(1)


def check_file(path: Path | None, suffix: str = "") -> None:
    """Raise ValueError where no file can be written to `path`, or its name has another suffix."""
    if path is None:
        return
    folder = path.absolute().parent
    # A device, or the link /dev/stdout, would be replaced, for all of the machine, not written to.
    is_special = (path.exists() and not path.is_file()) or folder == Path("/dev")
    if (suffix and path.suffix != suffix) or is_special or not folder.is_dir():
        kind = f"{suffix} file".strip()
        raise ValueError(f"can't write {path}: expected a {kind} in a folder that exists")
    _try_writing(folder, path)


def check_folder(path: Path) -> None:
    """Raise ValueError where files can't be written to `path`, a folder that need not be there."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"can't write to {path}: {there} is no folder")
    _try_writing(there, path)


def check_page(path: Path) -> None:
    """Raise ValueError where no .md file can be written to `path`; its folder need not be there."""
    if path.suffix != ".md":
        raise ValueError(f"can't write {path}: expected a file whose name ends in .md")
    check_folder(path.parent)


def _try_writing(folder: Path, path: Path) -> None:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"can't write to {path}: {error.strerror}") from error
