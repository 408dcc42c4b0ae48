"""The cache, the bundled model, and its labels of a known frame on every backend."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from camss_ros.doctor import golden
from camss_ros.doctor.finding import Finding, Level
from camss_ros.doctor.probes import ProbeError, ask
from camss_ros.git_lfs import why_unreadable
from camss_ros.inference.graphs.cache import MAX_BYTES, cache_directory

_LOW_DISK = 1e9  # bytes; a graph of the bundled model takes 20 to 60 MB
# Share of the labels: bf16 has 99.7 % of them, int8 98.2 %, a broken backend few.
_AGREEMENT = 0.97
_REINSTALL = "install the package again (a checkout with Git LFS: git lfs pull)"


def check_cache() -> Iterator[Finding]:
    """Whether graphs can be kept, and the room for them."""
    try:
        folder = cache_directory()
        tempfile.TemporaryFile(dir=folder).close()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Finding(
            "cache", "WARN",
            f"exported graphs cannot be built, PyTorch does the work: {error}",
            "set XDG_CACHE_HOME to a folder that can be written",
        )  # fmt: skip
        return
    text = f"{free / 1e9:.1f} GB free at {folder}, of which at most {MAX_BYTES / 1e9:.1f} are taken"
    if free < _LOW_DISK:
        yield Finding("cache", "WARN", text, "make room, or set XDG_CACHE_HOME to another disk")
    else:
        yield Finding("cache", "OK", text)


def check_weights() -> Iterator[Finding]:
    """Whether the bundled weights are those of this version."""
    try:
        found = hashlib.sha256(golden.WEIGHTS.read_bytes()).hexdigest()
        expected = golden.golden_weights()
    except (OSError, ValueError, KeyError) as error:
        yield Finding("bundled model", "FAIL", f"cannot be read: {error}", _REINSTALL)
        return
    if found != expected:
        reason = why_unreadable(golden.WEIGHTS, f"sha256 {found}, expected {expected}")
        yield Finding("bundled model", "FAIL", f"{golden.MODEL}: {reason}", _REINSTALL)
    else:
        yield Finding("bundled model", "OK", f"{golden.MODEL}, sha256 {found}")


def check_golden(backends: Sequence[str]) -> Iterator[Finding]:
    """The labels of the golden frame, backend by backend; PyTorch's decide."""
    for backend in backends:
        fault: Level = "FAIL" if backend == "torch" else "WARN"
        advice = (
            "see PyTorch and bundled model above"
            if backend == "torch"
            else "`backend: auto` leaves it out; another version of its package may do"
        )
        check = f"golden frame, {backend}"
        try:
            rows = ask("golden", backend)
        except ProbeError as error:
            yield Finding(check, fault, str(error), advice)
            continue
        for row in rows:
            name = f"{check} {row['precision']}"
            if "error" in row:
                yield Finding(name, fault, row["error"], advice)
                continue
            text = f"{100 * row['agreement']:.2f} % of the labels are right, {row['ms']:.0f} ms"
            if row["agreement"] < _AGREEMENT:
                expected = f"; expected at least {100 * _AGREEMENT:.0f} %"
                yield Finding(name, fault, text + expected, advice)
            else:
                yield Finding(name, "OK", text)
