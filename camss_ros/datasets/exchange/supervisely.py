"""Supervisely's own format.

    PROJECT/meta.json                  the classes
    PROJECT/DATASET/img/NAME.jpg       images, where they were exported too
    PROJECT/DATASET/ann/NAME.jpg.json  size, and objects with classTitle and geometryType
    PROJECT/DATASET/datasets/DATASET   the same of a dataset within another

Bitmaps, polygons and rectangles are drawn in their order. After developer.supervisely.com,
"Annotation JSON format", and the `Bitmap` and `Polygon` of its SDK.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.datasets.exchange.annotations import (
    Annotation,
    ClassNames,
    naming,
    only_file,
    read_json,
    stem_of,
)
from camss_ros.datasets.exchange.drawn_shapes import (
    bitmap,
    blank,
    paste,
    polygon_of_supervisely,
)
from camss_ros.images.image_files import DataError

_EXPECTED = "annotation of Supervisely with size and objects"


def read(root: Path, classes: ClassNames) -> Iterator[Annotation]:
    """The annotations of all datasets of a project. Raises DataError."""
    meta = only_file(root, "meta.json", "that of a Supervisely project")
    with naming(meta, "meta.json of a Supervisely project"):
        for one in read_json(meta, "meta.json of a Supervisely project")["classes"]:
            classes.id_of(one["title"], meta)
    files = sorted(meta.parent.rglob("ann/[!.]*.json"))  # not the ._NAME.json of macOS
    if not files:
        raise DataError(f"no annotations in {meta.parent}: expected DATASET/ann/NAME.json")
    for file in files:
        image = file.parent.parent / "img" / file.name.removesuffix(".json")
        yield Annotation(stem_of(image.name), file, partial(_read, file, classes), image)


def _read(file: Path, classes: ClassNames, shape: tuple[int, int]) -> np.ndarray:
    content = read_json(file, _EXPECTED)
    with naming(file, _EXPECTED):
        label = blank(content["size"]["height"], content["size"]["width"], shape)
        for drawn in content["objects"]:
            _draw(label, drawn, classes.id_of(drawn["classTitle"], file))
    return label


def _draw(label: np.ndarray, drawn: dict[str, Any], value: int) -> None:
    kind = drawn["geometryType"]
    if kind == "bitmap":
        x, y = drawn["bitmap"]["origin"]
        paste(label, bitmap(drawn["bitmap"]["data"]), int(x), int(y), value)
    elif kind == "polygon":
        exterior, interior = drawn["points"]["exterior"], drawn["points"]["interior"]
        label[polygon_of_supervisely(label.shape, exterior, interior)] = value  # type: ignore[arg-type]
    elif kind == "rectangle":
        # two opposite corners, whichever
        (left, right), (top, bottom) = map(sorted, zip(*drawn["points"]["exterior"], strict=True))
        rows = slice(max(0, int(top)), max(0, int(bottom) + 1))
        label[rows, max(0, int(left)) : max(0, int(right) + 1)] = value
    else:
        raise ValueError(f"an object of type {kind!r}: expected bitmap, polygon or rectangle")
