"""Plain label images: labels/NAME.png, indexed with the colours of the classes, 255 for void.

An export may have the images beside them, in images/.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from camss_ros.atomic_files import replacing
from camss_ros.datasets.exchange.annotations import Annotation, ClassNames
from camss_ros.datasets.exchange.prelabels import Prelabel, images_by_name
from camss_ros.images.image_files import DataError, stem
from camss_ros.images.label_files import read_labels
from camss_ros.images.label_sets import LabelSet

FOLDER = "labels"


def write(prelabels: Iterable[Prelabel], label_set: LabelSet, output: Path) -> None:
    """Write labels/NAME.png. Raises OSError."""
    (output / FOLDER).mkdir(exist_ok=True)
    for prelabel in prelabels:
        image = Image.fromarray(prelabel.labels).convert("P")
        image.putpalette(label_set.palette().reshape(-1).tolist())
        data = io.BytesIO()
        image.save(data, "PNG")
        with replacing(output / FOLDER / f"{prelabel.name}.png") as path:
            path.write_bytes(data.getvalue())


def read(root: Path, classes: ClassNames) -> Iterator[Annotation]:
    """The PNGs in labels/, or else in the folder itself: ids or colours as the label set says.

    Raises DataError.
    """
    folder = root / FOLDER if (root / FOLDER).is_dir() else root
    images = images_by_name(root / "images") if (root / "images").is_dir() else {}
    files = sorted(folder.glob("[!.]*.[pP][nN][gG]"))  # not the ._NAME.png of macOS
    if not files:
        raise DataError(f"no label images (.png) in {folder}")
    for file in files:
        name = stem(file)
        yield Annotation(name, file, partial(_read, file, classes), images.get(name))


def _read(file: Path, classes: ClassNames, shape: tuple[int, int]) -> np.ndarray:
    return read_labels(file, classes.label_set)
