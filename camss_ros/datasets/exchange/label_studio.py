"""Label Studio: tasks as JSON, masks as brush strokes.

    tasks.json           a task for each image, with the prelabels as its prediction
    labeling_config.xml  the labelling interface: the classes with their colours

Images are named by URLs of its local file storage, below LOCAL_FILES_DOCUMENT_ROOT. After the
documentation of BrushLabels, of the task format and of local storage (labelstud.io).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

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
from camss_ros.datasets.exchange.brush_rle import decode_brush, encode_brush
from camss_ros.datasets.exchange.drawn_shapes import blank
from camss_ros.datasets.exchange.prelabels import Prelabel, distinct_colors, hex_color
from camss_ros.images.label_sets import LabelSet

TASKS, CONFIG = "tasks.json", "labeling_config.xml"
_EXPECTED = "export of Label Studio as JSON, a list of tasks"
_LOCAL_FILES = "/data/local-files/?d="
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # it puts a random part before the name of a file
_FROM, _TO = "label", "image"  # names in the labelling interface


def write(prelabels: Iterable[Prelabel], label_set: LabelSet, output: Path) -> None:
    """Write tasks.json and labeling_config.xml. Raises ValueError for an image that is too large,
    OSError."""
    with replacing(output / TASKS) as path, path.open("w", encoding="utf-8") as file:
        for number, prelabel in enumerate(prelabels):  # masks are long: one task at a time
            file.write(",\n" if number else "[\n")
            json.dump(_task(prelabel, label_set), file, separators=(",", ":"))
        file.write("\n]\n")
    lines = "".join(
        f"    <Label value={quoteattr(one.name)} background={quoteattr(hex_color(color))}/>\n"
        for one, color in zip(label_set.classes, distinct_colors(label_set), strict=True)
    )
    (output / CONFIG).write_text(
        f'<View>\n  <Image name="{_TO}" value="$image" zoom="true" zoomControl="true"/>\n'
        f'  <BrushLabels name="{_FROM}" toName="{_TO}">\n{lines}  </BrushLabels>\n</View>\n',
        encoding="utf-8",
    )


def _task(prelabel: Prelabel, label_set: LabelSet) -> dict[str, Any]:
    height, width = prelabel.labels.shape
    result = [
        {
            "id": f"{prelabel.name}-{one.id}",
            "type": "brushlabels",
            "from_name": _FROM,
            "to_name": _TO,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": encode_brush(prelabel.labels == one.id),
                "brushlabels": [one.name],
            },
        }
        for one in label_set.classes
        if (prelabel.labels == one.id).any()
    ]
    folder = prelabel.image.parent.name
    return {
        "data": {"image": _LOCAL_FILES + quote(f"{folder}/{prelabel.image.name}")},
        "predictions": [{"model_version": "camss_ros", "result": result}],
    }


def read(root: Path, classes: ClassNames) -> Iterator[Annotation]:
    """The annotated tasks of a JSON export; tasks without an annotation are left out. Of several
    annotations of a task the last one counts that was not cancelled. Raises DataError."""
    file = only_file(root, "*.json", _EXPECTED)
    tasks = read_json(file, _EXPECTED)
    with naming(file, _EXPECTED):
        if not isinstance(tasks, list):
            raise TypeError(f"expected a list, got {type(tasks).__name__}")
        for task in tasks:
            done = [it for it in task["annotations"] if not it.get("was_cancelled")]
            if done:
                name = _image_name(task["data"]["image"])
                result = done[-1]["result"]
                yield Annotation(name, file, partial(_read, file, name, result, classes))


def _read(
    file: Path, name: str, result: Any, classes: ClassNames, shape: tuple[int, int]
) -> np.ndarray:
    label = np.full(shape, 255, np.uint8)
    with naming(file, f"{_EXPECTED} (image {name})"):
        for region in result:
            if region["type"] != "brushlabels" or region["value"]["format"] != "rle":
                raise ValueError(f"a region of type {region['type']!r}: expected brushlabels")
            if region.get("image_rotation"):
                raise ValueError("the image was turned in the tool, its masks can't be placed")
            (named,) = region["value"]["brushlabels"]
            blank(region["original_height"], region["original_width"], shape)
            label[decode_brush(region["value"]["rle"], *shape)] = classes.id_of(named, file)
    return label


def _image_name(url: object) -> str:
    """The name, without suffix, of the file that a URL stands for."""
    if not isinstance(url, str):
        raise TypeError(f"expected the URL of an image, got {url!r}")
    parts = urlsplit(url)
    local = parse_qs(parts.query).get("d")
    name = stem_of(local[0] if local else unquote(parts.path))
    uploaded = _UPLOADED.fullmatch(name)
    return uploaded[1] if uploaded and "/upload/" in parts.path else name
