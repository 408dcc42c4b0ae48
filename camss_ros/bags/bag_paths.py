"""Which paths are bags, by names and first bytes; what is in them shows when they are opened."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from camss_ros.bags.bag import BagError
from camss_ros.bags.bag_storage import storage_files, storage_kind, storage_stem
from camss_ros.images.image_files import visible


def find_bags(paths: Sequence[Path], results: Path | None = None) -> list[Path]:
    """The bags that are named, and those in folders of bags, in order, each once.

    Folders that are no bags are searched, but for the folder of `results`; see `is_single_bag`.

    Raises:
        FileNotFoundError: one of the paths is not there.
        BagError: a folder has no bag.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no bag '{path}'")
        inside = list(_search(path, results))
        if not inside:
            raise BagError(
                f"'{path}' has no bag: expected folders with an .mcap or .db3 file, or .bag files"
            )
        found += inside
    return list(dict.fromkeys(found))


def is_single_bag(path: Path, results: Path | None = None) -> bool:
    """Whether a path is one bag, not a folder of several. A file is, whatever it holds.

    A folder is one where it has a metadata.yaml, or nothing but one storage file or the numbered
    ones of a split bag; a folder of `results` in it does not count.
    """
    if not path.is_dir():
        return True
    if (path / "metadata.yaml").exists():
        return True
    stems = [storage_stem(file) for file in storage_files(path)]
    if len(stems) <= 1:
        return bool(stems) and not any(_is_folder(p, results) for p in visible(path))
    parts = [stem.rpartition("_") for stem in stems]
    numbers = {number for _, _, number in parts}
    return len({name for name, _, _ in parts}) == 1 and numbers == set(map(str, range(len(stems))))


def holds_bag_data(path: Path) -> bool:
    """Whether a path is a file of a bag, or a folder with such files in it, of one bag or several.
    A video or a folder of images is not."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(storage_files(path))
    return storage_kind(path) is not None


def bag_names(bags: Sequence[Path]) -> list[str]:
    """A folder name for each bag: its own, with a part of the hash of its path where another bag
    has the same."""
    # links, such as those of git-annex, by their own name
    paths = [Path(os.path.abspath(bag)) for bag in bags]
    names = [storage_stem(path) if path.is_file() else path.name for path in paths]
    hashes = [hashlib.sha256(str(path).encode()).hexdigest()[:6] for path in paths]
    often = Counter(names)
    return [
        name if often[name] == 1 else f"{name}-{digest}"
        for name, digest in zip(names, hashes, strict=True)
    ]


def _search(path: Path, results: Path | None) -> Iterator[Path]:
    if is_single_bag(path, results):
        yield path
        return
    for inside in sorted(visible(path)):
        if _is_folder(inside, results) or storage_kind(inside):
            yield from _search(inside, results)


def _is_folder(path: Path, results: Path | None) -> bool:
    """Whether it is a folder, other than that of the results."""
    return path.is_dir() and not (results and results.exists() and path.samefile(results))
