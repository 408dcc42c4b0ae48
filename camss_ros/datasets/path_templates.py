"""Paths with fields, such as "gtFine/{split}/{city}/{frame}_gtFine_labelIds.png".

A field stands for one or more characters of a file or folder name, "{suffix}" for the suffix of an
image file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from camss_ros.images.image_files import IMAGE_SUFFIXES, visible

_FIELD = re.compile(r"\{(\w+)\}")


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with its fields filled in; unknown ones stay as they are."""
    return _FIELD.sub(lambda match: fields.get(match[1], match[0]), template)


def find(
    root: Path, template: str, known: Mapping[str, str]
) -> Iterator[tuple[dict[str, str], Path]]:
    """Everything below `root` that fits the template, in order, with the values of its fields.

    `known`: fields whose value is given. Files and folders whose name starts with a dot are left
    out. Raises OSError where a folder can't be read.
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
        re.escape(piece) if index % 2 == 0 else f"(?P<{piece}>{_field_pattern(piece)})"
        for index, piece in enumerate(pieces)
    )
    return re.compile(expression)


def _field_pattern(name: str) -> str:
    if name == "suffix":
        return "(?i:" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")"
    return ".+?"
