"""Where the images and labels of a data set lie, and which belong together.

Paths have fields, such as "gtFine/{split}/{city}/{frame}_gtFine_labelIds.png": one stands for one
or more characters of a file or folder name, "{suffix}" for the suffix of an image file.
Suffixes may be in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from camss_ros.images.frames import natural_key
from camss_ros.images.image_files import IMAGE_SUFFIXES, DataError, composed, visible

_FIELD = re.compile(r"\{(\w+)\}")
_PATTERNS = {"suffix": f"(?i:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})"}  # other than ".+?"


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with its fields filled in; unknown ones stay as they are."""
    return _FIELD.sub(lambda match: fields.get(match[1], match[0]), template)


def find(
    root: Path, template: str, known: Mapping[str, str]
) -> Iterator[tuple[dict[str, str], Path]]:
    """Everything below `root` that fits the template, in order, with the values of its fields.

    Files and folders whose name starts with a dot are left out.

    Args:
        root: folder to look in.
        template: path below it.
        known: fields whose value is given.

    Raises:
        OSError: a folder can't be read.
    """
    part, _, rest = fill(template, known).partition("/")
    for fields, path in _children(root, part):
        fields = {**known, **fields}
        if not rest:
            yield fields, path
        elif path.is_dir():
            yield from find(path, rest, fields)


def _children(folder: Path, part: str) -> Iterator[tuple[dict[str, str], Path]]:
    if not _FIELD.search(part):
        if (folder / part).exists():
            yield {}, folder / part
        return
    pattern = _pattern(part)
    for path in sorted(visible(folder)):
        match = pattern.fullmatch(path.name)
        if match:
            yield match.groupdict(), path


def _pattern(part: str) -> re.Pattern[str]:
    pieces = _FIELD.split(part)  # literal, field, literal, ...
    expression = "".join(
        re.escape(piece) if index % 2 == 0 else f"(?P<{piece}>{_PATTERNS.get(piece, '.+?')})"
        for index, piece in enumerate(pieces)
    )
    return re.compile(re.sub(r"(\\\.\w+)$", r"(?i:\1)", expression))


Key: TypeAlias = tuple[tuple[str, str], ...]
"""The fields that identify an image and its label, with their values."""


@dataclass(frozen=True)
class Sample:
    """An image file, its label file, and a name that no other sample of the split has."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Listing:
    """The files of a split.

    Attributes:
        samples: the pairs, in order of their names: frame2 before frame10.
        problems: a sentence for each file without its counterpart.
        unlabelled: images without a label in a split that is labelled only in part.
    """

    samples: tuple[Sample, ...]
    problems: tuple[str, ...] = ()
    unlabelled: int = 0


@dataclass(frozen=True)
class Layout:
    """The directory layout of a data set.

    Attributes:
        images, labels: templates of the paths below the root (see above). An image
            belongs to the label with which it shares the values of all fields but `suffix`.
        name: template of a sample's name.
        splits: the splits of a data set without a folder for each; "all" is one more.
        split_of: split of a file by its fields, in such a data set.
        fields: values that fields have in a split.
        partly_labelled: splits of whose images some have no label.
    """

    images: str
    labels: str
    name: str = "{frame}"
    splits: tuple[str, ...] = ()
    split_of: Callable[[Mapping[str, str]], str] = lambda fields: "all"
    fields: Callable[[str], Mapping[str, str]] = lambda split: {}
    partly_labelled: tuple[str, ...] = ()

    def splits_at(self, root: Path) -> tuple[str, ...]:
        """The splits that have labels there, () if this is not the layout.

        Raises OSError where a folder can't be read.
        """
        if not root.is_dir():
            return ()
        if not self.splits:
            return self._split_folders(root, self.labels)
        found = {self.split_of(fields) for fields, _ in find(root, self.labels, {})}
        return tuple(split for split in self.splits if split in found)

    def list(self, root: Path, split: str) -> Listing:
        """The pairs of a split, and what lacks its counterpart.

        Raises:
            DataError: a folder is missing, nothing is labelled or two images have one name.
            OSError: a folder can't be read.
        """
        self._check_folders(root, split)
        labels = self._files(root, self.labels, split)
        images = self._files(root, self.images, split)
        if not self.splits and "{split}" not in self.images:
            # The images of all splits lie together: leave out the sequences of other splits.
            folders = find(root, self.labels.rpartition("/")[0], {"split": split})
            sequences = {_key(fields) for fields, _ in folders}
            images = {key: images[key] for key in images if _without_frame(key) in sequences}
        if not images or not labels:
            raise DataError(self._nothing(root, split, "labels" if images else "images"))
        samples = [
            Sample(fill(self.name, dict(key)), images[key], labels[key])
            for key in images
            if key in labels
        ]
        lonely_images = [key for key in images if key not in labels]
        partly = split in self.partly_labelled
        to_report = [] if partly else lonely_images
        problems = [self._lonely(root, "label", key, images[key]) for key in to_report]
        problems += [
            self._lonely(root, "image", key, labels[key]) for key in labels if key not in images
        ]
        samples.sort(key=lambda sample: natural_key(sample.name))
        return Listing(tuple(samples), tuple(problems), len(lonely_images) if partly else 0)

    def _check_folders(self, root: Path, split: str) -> None:
        if not root.is_dir():
            raise DataError(f"no data folder {root}: expected {self._expected(root)}")
        splits = set(self.splits_at(root))
        others = ["all"] if self.splits else self._split_folders(root, self.images)
        if split not in splits.union(others):
            there = f"the splits {', '.join(sorted(splits))}" if splits else "none"
            if self.splits and splits:  # what is expected is there
                raise DataError(f"no split {split!r}: {root} has {there}")
            looked = root / _fixed_part(fill(self.images, {"split": split}))
            if not splits and looked != root and looked.is_dir():  # the labels are what lacks
                raise DataError(self._nothing(root, split, "labels"))
            raise DataError(
                f"no split {split!r}: looked for {looked}; {root} has {there}; "
                f"expected {self._expected(root)}"
            )
        for template in (self.images, self.labels):
            folder = root / _fixed_part(fill(template, {**self.fields(split), "split": split}))
            if not folder.is_dir():
                raise DataError(f"no folder {folder}: expected {self._expected(root)}")

    def _split_folders(self, root: Path, template: str) -> tuple[str, ...]:
        """Values of the field `split` for which the template's folders are there."""
        if "{split}" not in template:
            return ()
        components = template.split("/")[:-1]
        last = next(i for i, component in enumerate(components) if "{split}" in component)
        # SPLIT/labels is a split, any other folder is not.
        following = _fixed_part("/".join([*components[last + 1 :], ""]))
        folders = "/".join([*components[: last + 1], *filter(None, [following])])
        found = find(root, folders, self.fields(""))
        return tuple(sorted({fields["split"] for fields, path in found if path.is_dir()}))

    def _files(self, root: Path, template: str, split: str) -> dict[Key, Path]:
        known = dict(self.fields(split))
        if not self.splits:
            known["split"] = split
        files: dict[Key, Path] = {}
        for fields, path in find(root, template, known):
            if self.splits and split not in ("all", self.split_of(fields)):
                continue
            key = _key(fields)
            if key in files:
                raise DataError(f"{path} and {files[key].name} have the same name")
            files[key] = path
        return files

    def _lonely(self, root: Path, missing: str, key: Key, path: Path) -> str:
        template = self.images if missing == "image" else self.labels
        expected = root / fill(template, {**dict(key), "suffix": path.suffix})
        return f"no {missing} for {path}: expected {expected}"

    def _nothing(self, root: Path, split: str, what: str) -> str:
        template = self.images if what == "images" else self.labels
        looked = root / fill(template, {**self.fields(split), "split": split, "suffix": ".*"})
        formats = f" ({', '.join(IMAGE_SUFFIXES)})" if "{suffix}" in template else ""
        return f"no {what}{formats} in {root} for split {split!r}: looked for {looked}"

    def _expected(self, root: Path) -> str:
        return f"{root / self.images} and {root / self.labels}"


def _fixed_part(template: str) -> str:
    """The leading folders without a field."""
    components = template.split("/")[:-1]
    fields = [index for index, component in enumerate(components) if "{" in component]
    return "/".join(components[: fields[0]] if fields else components)


def _key(fields: Mapping[str, str]) -> Key:
    """Of a file or folder."""
    return tuple(
        sorted((name, composed(value)) for name, value in fields.items() if name != "suffix")
    )


def _without_frame(key: Key) -> Key:
    return tuple(item for item in key if item[0] != "frame")
