"""LabelMe: a JSON file for each image, with what was drawn in it.

    NAME.json   imagePath, imageHeight, imageWidth, shapes with label, points and shape_type

Polygons, rectangles, oriented ones too, circles and masks are drawn in their order, as in its
`shapes_to_label`.
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
    read_json,
    stem_of,
)
from camss_ros.datasets.exchange.drawn_shapes import bitmap, blank, paste, polygon_of_labelme
from camss_ros.images.image_files import DataError

_EXPECTED = "LabelMe file with shapes, imagePath, imageHeight and imageWidth"
_AREAS = ("polygon", "rectangle", "oriented_rectangle", "circle")


def read(root: Path, classes: ClassNames) -> Iterator[Annotation]:
    """The JSON files of a folder and those below it. Raises DataError."""
    # not the ._NAME.json of macOS
    files = sorted(root.rglob("[!.]*.json")) if root.is_dir() else [root]
    if not files:
        raise DataError(f"no LabelMe files (.json) in {root}")
    for file in files:
        content = read_json(file, _EXPECTED)
        with naming(file, _EXPECTED):
            path = content["imagePath"]
            name = stem_of(path)
            image = file.parent / path.replace("\\", "/")
            yield Annotation(name, file, partial(_read, file, content, classes), image)


def _read(
    file: Path, content: dict[str, Any], classes: ClassNames, shape: tuple[int, int]
) -> np.ndarray:
    with naming(file, _EXPECTED):
        label = blank(content["imageHeight"], content["imageWidth"], shape)
        for drawn in content["shapes"]:
            value = classes.id_of(drawn["label"], file)
            kind = drawn.get("shape_type") or "polygon"
            if kind == "mask":
                (x, y), _ = drawn["points"]
                paste(label, bitmap(drawn["mask"]), round(x), round(y), value)
            elif kind in _AREAS:
                label[polygon_of_labelme(shape, kind, drawn["points"])] = value
            else:
                raise DataError(
                    f"{file}: {drawn['label']!r} is drawn as {kind!r}, which covers no area: "
                    f"expected {', '.join(_AREAS)} or mask"
                )
    return label
