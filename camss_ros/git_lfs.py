"""Files that Git LFS has not fetched yet: a clone without it leaves a pointer of some lines."""

from __future__ import annotations

from pathlib import Path

_BEGINNING = b"version https://git-lfs.github.com/spec/"


def lfs_hint(path: Path) -> str:
    """What to say besides of a file that can't be read; empty where it is no pointer of Git LFS."""
    try:
        with path.open("rb") as file:
            pointer = file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return ""
    return "it is a pointer of Git LFS, not the file: run 'git lfs pull'" if pointer else ""
