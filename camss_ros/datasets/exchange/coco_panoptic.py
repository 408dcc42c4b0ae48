"""COCO panoptic: a JSON file, and an RGB image of segment ids for each image.

    panoptic.json       images, categories, and the segments of each image
    panoptic/NAME.png   id of the segment: red + 256 green + 65536 blue; 0 is void

After cocodataset.org, "Data format", and panopticapi, whose default is the folder of the JSON
file's name, too. Here a segment is all that an image has of a class.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from camss_ros.atomic_files import replacing
from camss_ros.datasets.exchange.annotations import (
    Annotation,
    ClassNames,
    naming,
    only_file,
    read_json,
    stem_of,
)
from camss_ros.datasets.exchange.prelabels import Prelabel, distinct_colors
from camss_ros.images.image_files import DataError, encode_image, read_image, why_no_image
from camss_ros.images.label_class import VOID
from camss_ros.images.label_sets import LabelSet

NAME = "panoptic"
_EXPECTED = "COCO panoptic file with images, annotations with segments_info, and categories"


def write(prelabels: Iterable[Prelabel], label_set: LabelSet, output: Path) -> None:
    """Write panoptic.json and panoptic/. Segments have their class's colour. Raises OSError."""
    colors = distinct_colors(label_set)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    (output / NAME).mkdir(exist_ok=True)
    images, annotations = [], []
    for number, prelabel in enumerate(prelabels, 1):
        height, width = prelabel.labels.shape
        file_name = f"{prelabel.name}.png"
        image = {"id": number, "file_name": prelabel.image.name, "height": height, "width": width}
        images.append(image)
        with replacing(output / NAME / file_name) as path:
            path.write_bytes(encode_image(palette[prelabel.labels], ".png"))
        segments = [
            _segment(prelabel.labels == one.id, one.id + 1, color)
            for one, color in zip(label_set.classes, colors, strict=True)
            if (prelabel.labels == one.id).any()
        ]
        annotations.append({"image_id": number, "file_name": file_name, "segments_info": segments})
    categories = [
        {"id": one.id + 1, "name": one.name, "supercategory": one.name, "isthing": 0,
         "color": list(color)}
        for one, color in zip(label_set.classes, colors, strict=True)
    ]  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": categories}
    with replacing(output / f"{NAME}.json") as path:
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _segment(mask: np.ndarray, category: int, color: tuple[int, int, int]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    red, green, blue = color
    return {
        "id": red + 256 * green + 65536 * blue,
        "category_id": category,
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
    }


def read(root: Path, classes: ClassNames) -> Iterator[Annotation]:
    """The images of a JSON file, or of the only one in a folder; the segments lie in the folder of
    its name. Raises DataError."""
    file = only_file(root, "*.json", _EXPECTED)
    content = read_json(file, _EXPECTED)
    with naming(file, _EXPECTED):
        categories = {it["id"]: classes.id_of(it["name"], file) for it in content["categories"]}
        names = {it["id"]: stem_of(it["file_name"]) for it in content["images"]}
        for annotation in content["annotations"]:
            if "segments_info" not in annotation:
                raise DataError(
                    f"{file} has COCO annotations without segments_info, such as instances: "
                    "expected COCO panoptic"
                )
            name = names[annotation["image_id"]]
            path = PureWindowsPath(annotation["file_name"]).as_posix()
            png = (file.with_suffix("") / path).with_suffix(".png")
            segments = {0: VOID}
            for it in annotation["segments_info"]:
                if it["category_id"] not in categories:
                    raise ValueError(f"image {name} has category {it['category_id']!r}, unknown")
                segments[int(it["id"])] = categories[it["category_id"]]
            yield Annotation(name, png, partial(_read, png, segments, file))


def _read(png: Path, segments: dict[int, int], file: Path, shape: tuple[int, int]) -> np.ndarray:
    with naming(file, _EXPECTED):
        pixels = read_image(png)
    if pixels is None:
        raise DataError(why_no_image(png))
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    values, inverse = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
    if unknown := [value for value in values.tolist() if value not in segments]:
        raise DataError(f"{png} has segments that {file} does not list: {unknown[:8]}")
    ids = np.array([segments[value] for value in values.tolist()], np.uint8)
    return ids[inverse].reshape(red.shape)
