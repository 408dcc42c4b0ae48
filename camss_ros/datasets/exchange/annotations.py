"""What a labelling tool has exported: which image, and how its labels are read."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from camss_ros.images.image_files import DataError, stem, visible
from camss_ros.images.label_class import VOID
from camss_ros.images.label_sets import LabelSet

# What tools call pixels without a class, where the label set has no such class.
VOID_NAMES = ("background", "_background_", "__ignore__", "unlabeled", "ignore", "ignored", "void")


@dataclass(frozen=True)
class Annotation:
    """The labels of an image.

    Attributes:
        name: of the image file, without folders and suffix.
        file: what they are read from.
        read: of the (height, width) of the image: uint8 [H, W], ids of the label set, 255 for
            void; raises DataError that names the file.
        image: the image, if the export has it; there may be no such file.
        origin: the name that the image had before the tool gave it `name`.
    """

    name: str
    file: Path
    read: Callable[[tuple[int, int]], np.ndarray]
    image: Path | None = None
    origin: str = ""


class ClassNames:
    """The classes that an export may name: those of `label_set`."""

    def __init__(self, label_set: LabelSet) -> None:
        self.label_set = label_set
        self._ids = dict.fromkeys(VOID_NAMES, VOID)
        self._ids |= {one.name: one.id for one in label_set.classes}

    def id_of(self, name: object, file: Path) -> int:
        """The id of a class, 255 of what means none.

        Args:
            name: as the export has it.
            file: where, for the message.

        Raises:
            DataError: the label set has no such class.
        """
        if not isinstance(name, str) or name not in self._ids:
            known = ", ".join(one.name for one in self.label_set.classes)
            raise DataError(
                f"{file}: unknown label {name!r}: label set {self.label_set.name} has {known}"
            )
        return self._ids[name]


@contextmanager
def naming(file: Path, expected: str) -> Iterator[None]:
    """Where what a file says is not of the form that is taken for granted, raise DataError."""
    try:
        yield
    except DataError:
        raise
    except (
        ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
        zlib.error,
    ) as error:  # fmt: skip
        kind = "no entry" if isinstance(error, KeyError) else f"{type(error).__name__}:"
        raise DataError(f"{file} is no {expected}: {kind} {error}") from error


def read_json(file: Path, expected: str) -> Any:
    """The content of a JSON file. Raises DataError that names it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"can't read {file}: {error.strerror}") from error
    with naming(file, expected):
        return json.loads(content)


def stem_of(path: object) -> str:
    """Name of a file without folders and suffix, of a path as another system may write it.

    Raises TypeError where it is no text.
    """
    if not isinstance(path, str):
        raise TypeError(f"expected the path of an image, got {path!r}")
    return stem(PurePosixPath(PureWindowsPath(path).as_posix()))


def only_file(root: Path, pattern: str, expected: str) -> Path:
    """The one file of that name in a folder and those below it, or `root` itself where it is one.

    Args:
        root: folder or file.
        pattern: such as "*.json".
        expected: what it is, for the message.

    Raises:
        DataError: there is none, or several.
    """
    if root.is_file():
        return root
    # macOS puts a ._NAME beside a file
    found = sorted(path for path in root.rglob(pattern) if not path.name.startswith("."))
    if len(found) != 1:
        there = ", ".join(path.name for path in found[:5]) or "none"
        raise DataError(f"{root}: expected one {pattern}, {expected}, found: {there}")
    return found[0]


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """A folder with what an archive (.zip, .tar, .tar.gz) holds, or the only folder in it, for the
    time of the context; what is no archive as it is.

    A DataError in the context names the archive in place of that folder.

    Raises:
        DataError: it is damaged or not there.
    """
    if not source.exists():
        raise DataError(f"there is no export {source}")
    if source.is_dir() or not _is_archive(source):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="camss_ros-export-") as scratch:
        folder = Path(scratch) / source.name
        try:
            if source.suffix.lower() == ".zip":
                with zipfile.ZipFile(source) as archive:
                    archive.extractall(folder)  # keeps within the folder
            else:
                shutil.unpack_archive(source, folder, filter="data")
        except (
            OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zlib.error,
            zipfile.BadZipFile, tarfile.TarError,
        ) as error:  # fmt: skip
            raise DataError(f"can't unpack {source}: {error}; damaged or cut off?") from error
        # a file manager packs the folder itself, not what is in it; that of macOS adds __MACOSX
        there = [path for path in visible(folder) if path.name != "__MACOSX"]
        try:
            yield there[0] if len(there) == 1 and there[0].is_dir() else folder
        except DataError as error:
            raise DataError(str(error).replace(str(folder), str(source))) from error


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))
