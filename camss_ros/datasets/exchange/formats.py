"""The formats of labelling tools, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from camss_ros.datasets.exchange import (
    coco_panoptic,
    cvat,
    index_png,
    label_studio,
    labelme,
    roboflow,
    supervisely,
)
from camss_ros.datasets.exchange.annotations import Annotation, ClassNames
from camss_ros.datasets.exchange.prelabels import Prelabel
from camss_ros.images.image_files import DataError
from camss_ros.images.label_sets import LabelSet

Read: TypeAlias = Callable[[Path, ClassNames], Iterator[Annotation]]
Write: TypeAlias = Callable[[Iterable[Prelabel], LabelSet, Path], None]


@dataclass(frozen=True)
class Format:
    """How a tool's labels are read, and written where that tool takes them back."""

    read: Read
    write: Write | None = None


FORMATS: Mapping[str, Format] = {
    "cvat": Format(cvat.read, cvat.write),
    "label-studio": Format(label_studio.read, label_studio.write),
    "coco-panoptic": Format(coco_panoptic.read, coco_panoptic.write),
    "png": Format(index_png.read, index_png.write),
    "labelme": Format(labelme.read),
    "roboflow": Format(roboflow.read),
    "supervisely": Format(supervisely.read),
}


def find_reader(name: str) -> Read:
    """Raises DataError that lists the known formats."""
    return _find(name, FORMATS).read


def find_writer(name: str) -> Write:
    """Raises DataError that lists the formats that are written."""
    writers = {name: it for name, it in FORMATS.items() if it.write is not None}
    write = _find(name, writers).write
    assert write is not None
    return write


def _find(name: str, formats: Mapping[str, Format]) -> Format:
    if name not in formats:
        raise DataError(f"format {name!r}: expected one of {', '.join(formats)}")
    return formats[name]
