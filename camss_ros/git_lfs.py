"""Files that Git LFS has not fetched: a clone without it leaves a pointer of some lines."""

from __future__ import annotations

from pathlib import Path

_BEGINNING = b"version https://git-lfs.github.com/spec/"


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is a pointer to one that has not been fetched."""
    try:
        with path.open("rb") as file:
            return file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return False


def why_unreadable(path: Path, reason: object) -> str:
    """Why a file can't be read: it is a pointer of Git LFS, else the reason that its reader has."""
    if is_lfs_pointer(path):
        return "it is a pointer of Git LFS, not the file itself: run 'git lfs pull'"
    return str(reason)
