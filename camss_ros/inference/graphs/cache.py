"""Files that take long to make and can be made again, in the user's cache directory."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from camss_ros.atomic_files import replacing
from camss_ros.source_hash import source_hash

# Of the built graphs; those not used for longest go first.
MAX_BYTES = 4 * 2**30
# files in the making; the number is the process that makes them
_TEMPORARY = ".partial-"
_ABANDONED = 24 * 3600.0  # s without a change, after which one whose process is gone is deleted
_unfinished: set[Path] = set()


def cache_directory() -> Path:
    """`camss_ros` in $XDG_CACHE_HOME, by default ~/.cache; made if missing.

    Raises:
        OSError: it cannot be made.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        directory = (Path(home) if home else Path.home() / ".cache") / "camss_ros"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        raise _no_cache(error) from error
    return directory


def _no_cache(reason: object) -> OSError:
    return OSError(f"no cache of built graphs ({reason}): set XDG_CACHE_HOME to a writable folder")


def cache_key(metadata: Mapping[str, Any]) -> str:
    """Name for what follows from `metadata` (JSON values) and from the code that makes it."""
    content = json.dumps({**metadata, "code": _code_hash()}, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """Of all that may be traced into a graph, so that no old one outlives an edit."""
    package = Path(__file__).parents[2]
    rooms = (package / name for name in ("images", "model", "inference"))
    return source_hash(*rooms, *sorted(package.glob("*.py")))


def cached_file(name: str, make: Callable[[Path], None]) -> Path:
    """The file `name` of the cache directory, made by `make(path)` if it is not there.

    It appears complete or not at all: a process that is killed meanwhile, or another that makes
    the same file, does no harm.

    Raises:
        OSError: it is not there, and the directory can't be written.
    """
    path = cache_directory() / name
    if path.is_file():
        with suppress(OSError):  # a cache of another user, or one that is read only
            os.utime(path)  # the time of its last use
    elif not os.access(path.parent, os.W_OK):
        raise _no_cache(f"{path.parent} cannot be written")
    else:
        write_atomically(path, make)
        _make_room(path)
    return path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a new file beside `path`, and put it in its place when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex}{path.suffix}")
    _unfinished.add(temporary)
    try:
        with replacing(path, temporary, durable=True):
            write(temporary)
    finally:
        _unfinished.discard(temporary)


def discard_unfinished() -> None:
    """Delete the files that this process is writing: before it ends without Python's own end."""
    for path in list(_unfinished):
        path.unlink(missing_ok=True)


def _is_abandoned(path: Path, modified: float) -> bool:
    """Whether the process that was making a file is gone.

    Processes of another container do not show here, so that time has to tell as well.
    """
    maker = path.name.removeprefix(_TEMPORARY).partition("-")[0]
    gone = maker.isdecimal() and not Path(f"/proc/{maker}").exists()
    return gone and time.time() - modified > _ABANDONED


def _make_room(newest: Path) -> None:
    """Delete the files not used for longest while all of them exceed `MAX_BYTES`."""
    files = []
    for path in newest.parent.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:  # by another process
            continue
        if path.name.startswith(_TEMPORARY):  # of another process, or thread
            if _is_abandoned(path, status.st_mtime):
                path.unlink(missing_ok=True)
        elif path.is_file() and path != newest:
            files.append((status.st_mtime, status.st_size, path))
    total = newest.stat().st_size + sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= MAX_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size
