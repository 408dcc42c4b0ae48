"""Files that are whole or as they were: written under another name, then renamed; and folders that
one process at a time writes to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, partial: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """Where to write the new content of `path`, which takes its place at the end of the block.

    After an exception `path` is as it was and what was written is gone. Raises OSError, of `path`
    where it names no other file: that of a full disk names none.

    Args:
        path: of the file.
        partial: the other name, in the same folder; by default a hidden one.
        durable: wait until it is on the disk: a power failure leaves it whole, too.
    """
    partial = partial or path.with_name(f".{path.name}.partial")
    try:
        yield partial
        if durable:
            sync(partial)
        os.replace(partial, path)
        if durable:
            sync(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if (
            isinstance(error, OSError)
            and error.errno is not None
            and str(error.filename or partial) == str(partial)
        ):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


_locks: set[int] = set()  # descriptors that hold one


def _leave_locks() -> None:
    """In a forked process, such as a data worker, which may outlive the one that has the lock."""
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_leave_locks)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, made if missing, until the end of the block.

    Raises OSError, BlockingIOError where another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    _locks.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another process is writing to '{folder}': wait for its end, or choose another "
                "output"
            ) from error
        except OSError:  # a network file system without locks
            pass
        yield
    finally:
        _locks.remove(descriptor)
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
