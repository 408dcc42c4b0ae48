"""A GPU, measured in the time that there is.

output/gpu.json   the numbers of each part, stored as they come: a stopped study goes on
output/gpu.md     the page, written anew after each part
output/gpu.png    milliseconds of a frame
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from camss_ros.inference.beside import failure_in
from camss_ros.inference.device import select_device
from camss_ros.lab.gpu_page import median_times, plot_times, write_gpu_page
from camss_ros.lab.gpu_parts import PARTS, GpuSettings, Part, command
from camss_ros.lab.machine import describe_machine
from camss_ros.lab.study_output import ResultRows

_STOP_TIME = 8.0  # s that a part has to end in, the node among them, when its time is up


def study_gpu(
    settings: GpuSettings,
    output: Path,
    seconds: float,
    shown_command: str,
    progress: Callable[[str], None] = lambda doing: None,
    parts: Mapping[str, Part] = PARTS,
) -> dict[str, str]:
    """Measure the parts that are not there yet, as many as the time allows, and write `output`.

    Args:
        seconds: from now on to the end.
        shown_command: as the page shows it.
        progress: told the title of each part.

    Returns:
        Titles of what is missing on the page, and why.

    Raises:
        ValueError: there is no such device.
        OutputMismatchError: `output` holds numbers of other settings or of another machine.
        OSError: it can't be written.
    """
    end = time.monotonic() + seconds
    machine = describe_machine(select_device(settings.device))
    results = ResultRows(output / "gpu.json", {"machine": machine, "settings": asdict(settings)})
    missing = {key: "the study was stopped" for key in parts if key not in results}

    def write() -> None:
        rows = {key: results[key] for key in parts if key in results}
        if times := median_times(rows):
            plot_times(times, output / "gpu.png")
        reasons = {parts[key].title: reason for key, reason in missing.items()}
        write_gpu_page(output / "gpu.md", rows, reasons, parts, machine, shown_command)

    write()
    for key in list(missing):
        left = end - time.monotonic() - _STOP_TIME
        if left < parts[key].least:
            missing[key] = f"needs {parts[key].least:g} s, {max(left, 0):.0f} were left"
            continue
        progress(parts[key].title)
        row = run_part(command(key, settings), left)
        if isinstance(row, str):
            missing[key] = row
        else:
            results.add(key, row)
            del missing[key]
        write()
    if not missing:
        results.finish()
    write()
    return {parts[key].title: reason for key, reason in missing.items()}


def run_part(arguments: list[str], seconds: float) -> dict[str, Any] | str:
    """Run a command that prints JSON in its last line; what it printed, or why there is nothing.

    It is ended after so many seconds, and where this process is interrupted. What it has to say
    where it fails goes to stderr as a whole.
    """
    # Ctrl-C in the terminal reaches this process alone, which ends the part.
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"not done after {seconds:.0f} s"
    finally:
        _end(process)
    if process.returncode != 0:
        print(errors, end="", file=sys.stderr)
        return f"failed: {failure_in(errors) or process.returncode}"
    return json.loads(printed.strip().splitlines()[-1])


def _end(process: subprocess.Popen[str]) -> None:
    """End it with all that it began: compilers of `torch.compile` outlive it, and hold its pipes
    and processors for up to a minute."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_TIME)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
