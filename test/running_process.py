"""Whether a process runs."""

from pathlib import Path


def runs(process: Path) -> bool:
    """Of a folder in /proc. One that has ended stays there where nothing waits for it, as in some
    containers."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
