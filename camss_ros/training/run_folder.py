"""The files of a training run, written so that a kill at any moment leaves them usable."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch

from camss_ros.atomic_files import replacing, sync
from camss_ros.errors import CamssError


class TrainingError(CamssError):
    """Training cannot go on; the last checkpoint is intact."""


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Leave either the old file or the whole new one, on the disk and not in its cache.

    Raises:
        TrainingError: the file can't be written, for example because the disk is full.
    """
    try:
        temporary = path.with_name(path.name + ".partial")
        with replacing(path, temporary, durable=True), temporary.open("wb") as file:
            write(file)
    except (OSError, RuntimeError) as error:
        # torch.save fails, by a RuntimeError, at the end of a file that something else has ended
        cause = error if isinstance(error, OSError) else error.__context__ or error
        if cause is not error and not isinstance(cause, OSError):
            raise cause from None  # a signal, or the end of a data worker
        reason = cause.strerror if isinstance(cause, OSError) else str(cause)
        raise TrainingError(
            f"can't write {path}: {reason}; the file is as it was before: make room and run the "
            "same command again"
        ) from error


def save_checkpoint(state: object, path: Path) -> None:
    """`torch.save`, atomically; see `write_atomically`."""
    write_atomically(path, lambda file: torch.save(state, file))


def replace_files(directory: Path, write: Callable[[Path], object]) -> None:
    """Replace the files of `directory` one by one by those that `write` makes.

    Args:
        write: called with an empty folder, which it fills.

    Raises:
        TrainingError: they can't be written; `directory` is as it was.
    """
    partial = directory.with_name(directory.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        for path in partial.iterdir():
            sync(path)
        directory.mkdir(exist_ok=True)
        for path in sorted(partial.iterdir()):
            os.replace(path, directory / path.name)
        sync(directory)
    except OSError as error:
        raise TrainingError(f"can't write {directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class MetricsFile:
    """A CSV of one row for each reported step.

    Args:
        path: of the file. Rows of it after `last_step`, of a run that was killed before its next
            checkpoint, are dropped, and so is a row that was cut off.
    """

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        rows = [row for row in read_metrics(path) if row["step"] <= last_step]
        if not rows:
            path.unlink(missing_ok=True)
            return
        lines = [rows[0], *([_format(value) for value in row.values()] for row in rows)]
        text = "".join(",".join(line) + "\n" for line in lines)
        write_atomically(path, lambda file: file.write(text.encode()))

    def append(self, step: int, values: dict[str, float]) -> None:
        """Add a row. Raises TrainingError where that is not possible."""
        row = {"step": step, **values}
        try:
            with self.path.open("a") as file:
                if file.tell() == 0:
                    file.write(",".join(row) + "\n")
                file.write(",".join(_format(value) for value in row.values()) + "\n")
        except OSError as error:
            raise TrainingError(
                f"can't write {self.path} at step {step}: {error.strerror}; the last checkpoint "
                "is intact"
            ) from error


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The whole rows of a metrics file; none where there is no file."""
    if not path.exists():
        return []
    # the line that a kill cut off has no end
    whole = path.read_text().rpartition("\n")[0]
    lines = list(csv.reader(whole.splitlines()))
    return [
        {"step": int(line[0]), **dict(zip(lines[0][1:], map(float, line[1:]), strict=True))}
        for line in lines[1:]
        if len(line) == len(lines[0])
    ]


def _format(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8g}"
