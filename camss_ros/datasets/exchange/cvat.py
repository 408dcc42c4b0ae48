"""CVAT's "Segmentation mask 1.1": a zip in the layout of Pascal VOC.

    labelmap.txt                           name:red,green,blue:: of each class
    ImageSets/Segmentation/default.txt     names of the images without suffix
    SegmentationClass/NAME.png             colours of the classes
    SegmentationObject/NAME.png            a colour of its own for each mask of an image
    JPEGImages/NAME.*                      the images, where they were exported too

After CVAT's documentation of the format (docs.cvat.ai, "Segmentation Mask") and datumaro's `voc`
plugin, which reads and writes it there.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from camss_ros.atomic_files import replacing
from camss_ros.datasets.exchange.annotations import VOID_NAMES, Annotation, ClassNames, naming
from camss_ros.datasets.exchange.prelabels import Prelabel, distinct_colors, hex_color, voc_colors
from camss_ros.images.image_files import IMAGE_SUFFIXES, DataError, encode_image, stem
from camss_ros.images.label_class import VOID, LabelClass
from camss_ros.images.label_files import read_colors
from camss_ros.images.label_sets import LabelSet

ARCHIVE, LABELS = "annotations.zip", "labels.json"
_LABEL_MAP = "labelmap.txt"
_BACKGROUND = (0, 0, 0)


def write(prelabels: Iterable[Prelabel], label_set: LabelSet, output: Path) -> None:
    """Write annotations.zip, for "Upload annotations", and labels.json, for the raw editor of the
    labels of a new task.

    Raises ValueError for a class name that a labelmap.txt can't hold, OSError.
    """
    colors = distinct_colors(label_set)
    for one in label_set.classes:
        if ":" in one.name or one.name.startswith("#") or one.name != one.name.strip():
            raise ValueError(f"CVAT's labelmap.txt has no room for a class named {one.name!r}")
    # CVAT refuses masks with a colour that no line has, as void would be
    void = next(name for name in VOID_NAMES if name not in _names(label_set))
    lines = [(void, _BACKGROUND), *zip(_names(label_set), colors, strict=True)]
    names = []
    path = output / ARCHIVE
    with replacing(path) as partial_path, zipfile.ZipFile(partial_path, "w") as archive:
        text = "".join(f"{name}:{','.join(map(str, color))}::\n" for name, color in lines)
        archive.writestr(_LABEL_MAP, text)
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colors)] = colors
        objects = np.zeros((256, 3), np.uint8)
        objects[: len(colors)] = voc_colors()[1 : len(colors) + 1]
        for prelabel in prelabels:
            names.append(prelabel.name)
            for folder, table in (("SegmentationClass", palette), ("SegmentationObject", objects)):
                data = encode_image(table[prelabel.labels], ".png")
                archive.writestr(f"{folder}/{prelabel.name}.png", data)
        archive.writestr("ImageSets/Segmentation/default.txt", "".join(f"{n}\n" for n in names))
    content = [
        {"name": name, "color": hex_color(color), "type": "any", "attributes": []}
        for name, color in zip(_names(label_set), colors, strict=True)
    ]
    (output / LABELS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(root: Path, classes: ClassNames) -> Iterator[Annotation]:
    """The masks of an unpacked export. Raises DataError."""
    label_map = root / _LABEL_MAP
    tool, table = _read_label_map(label_map, classes)
    folder = root / "SegmentationClass"
    masks = sorted(folder.rglob("[!.]*.png"))  # not the ._NAME.png of macOS
    if not masks:
        raise DataError(f"no masks in {folder}: expected an export as 'Segmentation mask 1.1'")
    images = {
        path.relative_to(root / "JPEGImages").with_suffix(""): path
        for path in sorted((root / "JPEGImages").rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    for mask in masks:
        name = mask.relative_to(folder).with_suffix("")
        yield Annotation(stem(mask), mask, partial(_read, mask, tool, table), images.get(name))


def _read(mask: Path, tool: LabelSet, table: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return table[read_colors(mask, tool)]


def _read_label_map(path: Path, classes: ClassNames) -> tuple[LabelSet, np.ndarray]:
    """The classes with the colours of the tool, and our id of each of their ids."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(
            f"can't read {path}: {error.strerror}; expected an export as 'Segmentation mask 1.1'"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text: {error}") from error
    found: dict[tuple[int, int, int], str] = {}
    for line in filter(lambda line: line and not line.startswith("#"), map(str.strip, lines)):
        with naming(path, "labelmap.txt with lines 'name:red,green,blue::'"):
            name, color, *_ = line.split(":")
            red, green, blue = map(int, color.split(","))
            if not all(0 <= value <= 255 for value in (red, green, blue)):
                raise ValueError(f"a colour out of range in {line!r}")
            if (red, green, blue) in found:
                raise ValueError(f"two labels of one colour, the second in {line!r}")
            found[red, green, blue] = name
    table = np.full(256, VOID, np.uint8)
    tool: list[LabelClass] = []
    for rgb, name in found.items():
        if len(tool) >= VOID:
            raise DataError(f"{path} has more than {VOID} labels")
        table[len(tool)] = classes.id_of(name, path)
        tool.append(LabelClass(len(tool), name, rgb))
    return LabelSet(str(path), tuple(tool), void_color=_BACKGROUND), table


def _names(label_set: LabelSet) -> list[str]:
    return [one.name for one in label_set.classes]
