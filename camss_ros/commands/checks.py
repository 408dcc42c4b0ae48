"""Whether what a command is to leave can be written, asked before its work."""

from __future__ import annotations

import tempfile
from pathlib import Path


def check_file(path: Path | None, suffix: str = "") -> None:
    """Raise ValueError where no file can be written to `path`, or its name has another suffix."""
    if path is None:
        return
    if (suffix and path.suffix != suffix) or path.is_dir() or not path.absolute().parent.is_dir():
        kind = f"{suffix} file".strip()
        raise ValueError(f"can't write {path}: expected a {kind} in a folder that exists")
    _try(path.absolute().parent, path)


def check_folder(path: Path) -> None:
    """Raise ValueError where files can't be written to `path`, a folder that need not be there."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"can't write to {path}: {there} is no folder")
    _try(there, path)


def _try(folder: Path, path: Path) -> None:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"can't write to {path}: {error.strerror}") from error
