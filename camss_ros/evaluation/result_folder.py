"""A folder of results that a stopped run leaves in a state from which the next one goes on.

A summary file holds the settings from the beginning on, so that results of others are not mixed
with them; every file is written under a temporary name first, so that one that exists is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.atomic_files import replacing
from camss_ros.images.image_files import encode_image, read_pixels


class OutputMismatchError(ValueError):
    """The output folder holds the results of other settings."""


def begin_results(
    summary: Path, settings: dict[str, Any], folders: Sequence[str], others: Sequence[str] = ()
) -> None:
    """Make `folders` beside `summary` and note the settings in it.

    Args:
        settings: what the results depend on, JSON-able.
        folders: of the command alone, which may all be deleted.
        others: files and folders beside `summary` that may hold results, too.

    Raises:
        OutputMismatchError: there are results of other settings, or some without `summary`, of
            settings that nobody knows.
        OSError: the folders or the summary can't be written.
    """
    output = summary.parent
    for folder in folders:
        (output / folder).mkdir(parents=True, exist_ok=True)
    parts = (output / name for name in (*folders, *others))
    part = next((it for it in parts if _has_content(it)), None)
    if not summary.exists():
        if part is not None:
            raise OutputMismatchError(
                f"'{part}' is of a run without '{summary}': choose another output or delete it"
            )
        write_json(summary, {"complete": False, "settings": settings})
        return
    try:
        content = json.loads(summary.read_text())
        found = content["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise OutputMismatchError(
            f"'{summary}' is not a summary of this command: choose another output folder"
        ) from error
    wanted = json.loads(json.dumps(settings))
    if found != wanted:
        if part is None and content == {"complete": False, "settings": found}:
            # that run ended with an error before its first result
            write_json(summary, {"complete": False, "settings": settings})
            return
        # without folders of its own it may stand beside the results of others
        raise OutputMismatchError(
            f"'{output if folders else summary}' holds the results of other settings "
            f"({'; '.join(_changes(found, wanted))}): choose another output or delete this one"
        )


def _has_content(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size > 0


def fingerprint(files: Sequence[Path]) -> str:
    """Of names, sizes and times of change: another one where a file is another. Raises OSError.

    The contents of a large input would take long to read a second time.
    """
    digest = hashlib.sha256()
    for path in files:
        found = path.stat()
        digest.update(repr((str(path.resolve()), found.st_size, found.st_mtime_ns)).encode())
    return digest.hexdigest()


def _changes(found: Any, wanted: Any, name: str = "") -> list[str]:
    """What is different, entry by entry."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            change
            for key in sorted(set(found) | set(wanted))
            for change in _changes(found.get(key), wanted.get(key), f"{name} {key}".strip())
        ]
    return [] if found == wanted else [f"{name} {found!r} there, {wanted!r} now"]


def finish_results(
    summary: Path, settings: dict[str, Any], results: dict[str, Any]
) -> dict[str, Any]:
    """Write the summary of a run that is complete, and return it."""
    content = {"complete": True, "settings": settings, **results}
    write_json(summary, content)
    return content


def read_mask(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray | None:
    """The image uint8 [H, W] of that shape, of any for None; None where there is none."""
    mask = read_pixels(path)
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
        return None
    return mask if shape in (None, mask.shape) else None


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W] or [H, W, 3] RGB in the format of the suffix. Raises OSError, and
    ValueError as `encode_image`."""
    write_atomically(path, encode_image(image, path.suffix))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON for people to read too; without NaN, which is none."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """Write text for people; of a file name that is no UTF-8 it has "?" for some bytes.

    Raises OSError.
    """
    write_atomically(path, text.encode(errors="replace"))


def write_atomically(path: Path, data: bytes) -> None:
    """Write the file as a whole or not at all. Raises OSError."""
    with replacing(path) as partial:
        partial.write_bytes(data)
