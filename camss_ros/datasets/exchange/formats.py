"""The formats of labelling tools, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

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
Way = TypeVar("Way", Read, Write)

WRITERS: Mapping[str, Write] = {
    "cvat": cvat.write,
    "label-studio": label_studio.write,
    "coco-panoptic": coco_panoptic.write,
    "png": index_png.write,
}
READERS: Mapping[str, Read] = {
    "cvat": cvat.read,
    "label-studio": label_studio.read,
    "coco-panoptic": coco_panoptic.read,
    "png": index_png.read,
    "labelme": labelme.read,
    "roboflow": roboflow.read,
    "supervisely": supervisely.read,
}


def find_format(name: str, ways: Mapping[str, Way]) -> Way:
    """The one of that name of `READERS` or `WRITERS`; raises DataError that lists their names."""
    if name not in ways:
        raise DataError(f"format {name!r}: expected one of {', '.join(ways)}")
    return ways[name]
