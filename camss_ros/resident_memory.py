"""How much memory a process takes; Linux only (man 5 proc)."""

from __future__ import annotations

from pathlib import Path


def resident_bytes(peak: bool = False, pid: int | None = None) -> int:
    """Memory of a process (this one) now, or its highest: since its start, or since
    `lab.segmenter_speed.reset_peak`.
    """
    name = "VmHWM:" if peak else "VmRSS:"
    status = Path("/proc") / str(pid or "self") / "status"
    for line in status.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"{status} says nothing of {name}")
