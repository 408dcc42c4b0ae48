"""Roboflow's "Semantic Segmentation Masks".

SPLIT/_classes.csv      pixel value and name of each class
SPLIT/NAME.jpg          the image, by a name such as drive_0001_png.rf.0123456789abcdef.jpg
SPLIT/NAME_mask.png     class of each pixel
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from camss_ros.datasets.exchange.annotations import Annotation, ClassNames, naming
from camss_ros.datasets.exchange.prelabels import images_by_name
from camss_ros.images.image_files import DataError, stem
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_files import read_ids
from camss_ros.images.label_sets import LabelSet

_CLASSES, _MASK = "_classes.csv", "_mask"
_EXPECTED = "_classes.csv with lines 'pixel value, class'"
_RENAMED = re.compile(r"(.+)_(?:png|jpe?g|webp|bmp|tiff?)\.rf\.[0-9A-Za-z]+", re.IGNORECASE)


def read(root: Path, classes: ClassNames) -> Iterator[Annotation]:
    """The masks of all splits: Roboflow's own is at random, which puts neighbouring frames on both
    sides. Raises DataError."""
    lists = sorted(root.rglob(_CLASSES))
    if not lists:
        raise DataError(
            f"no {_CLASSES} in {root}: expected an export as semantic segmentation masks"
        )
    for listed in lists:
        tool, table = _read_classes(listed, classes)
        images = images_by_name(listed.parent)
        for mask in sorted(listed.parent.glob(f"[!.]*{_MASK}.png")):  # not those of macOS
            name = stem(mask).removesuffix(_MASK)
            renamed = _RENAMED.fullmatch(name)
            yield Annotation(
                name, mask, partial(_read, mask, tool, table), images.get(name),
                renamed[1] if renamed else "",
            )  # fmt: skip


def _read(mask: Path, tool: LabelSet, table: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return table[read_ids(mask, tool)]


def _read_classes(path: Path, classes: ClassNames) -> tuple[LabelSet, np.ndarray]:
    """The values that a mask may have, as classes of these ids, and our id of each."""
    table = np.full(256, 255, np.uint8)
    tool = []
    with naming(path, _EXPECTED):
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            number, _, name = line.partition(",")  # names may have a comma, and are not quoted
            value, name = int(number), name.strip()
            if not 0 <= value <= 255:
                raise ValueError(f"the pixel value {value}: expected 0 to 255")
            table[value] = classes.id_of(name, path)
            tool.append(LabelClass(value, name, (0, 0, 0)))
    return LabelSet(str(path), tuple(tool), void_values=()), table
