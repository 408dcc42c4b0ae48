"""What goes to a labelling tool: frames with the masks that a person is to correct."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camss_ros.images.image_files import IMAGE_SUFFIXES, DataError, stem, visible
from camss_ros.images.label_files import read_labels
from camss_ros.images.label_sets import LabelSet


@dataclass(frozen=True)
class Prelabel:
    """A frame: the `image` file and its `labels`, uint8 [H, W], class ids and 255 for void."""

    image: Path
    labels: np.ndarray

    @property
    def name(self) -> str:
        """Of the image, without suffix."""
        return self.image.stem


class Prelabels:
    """The frames of a folder with `images/` and `prelabels/`, or `labels/`; read one at a time.

    Raises DataError where there are none, or labels without an image of their name.
    """

    def __init__(self, folder: Path, label_set: LabelSet) -> None:
        self._label_set = label_set
        images = images_by_name(folder / "images")
        part = "prelabels" if (folder / "prelabels").is_dir() else "labels"
        labels = images_by_name(folder / part)
        if not labels:
            raise DataError(f"no label images in {folder / part}: expected what `pick` leaves")
        if lonely := sorted(labels.keys() - images.keys()):
            raise DataError(f"no image in {folder / 'images'} for {labels[lonely[0]]}")
        self._pairs = [(images[name], labels[name]) for name in sorted(labels)]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Prelabel]:
        """Raises DataError that names a file which can't be read."""
        for image, label in self._pairs:
            yield Prelabel(image, read_labels(label, self._label_set))


def distinct_colors(label_set: LabelSet) -> list[tuple[int, int, int]]:
    """A colour for each class that tells it from the others and from black: its own where that
    does, else the next one of Pascal VOC's."""
    spare = (tuple(color) for color in voc_colors()[1:].tolist())
    own = [one.color for one in label_set.classes]
    found: list[tuple[int, int, int]] = []
    for color in own:
        if color == (0, 0, 0) or color in found:
            color = next(it for it in spare if it not in own and it not in found)  # type: ignore[misc]
        found.append(color)
    return found


def voc_colors() -> np.ndarray:
    """uint8 [256, 3], Pascal VOC's colour map: the bits of a number, in turn, from the highest bit
    of red, green and blue downwards (VOC2012 development kit, `VOClabelcolormap`)."""
    colors = np.zeros((256, 3), np.uint8)
    for bit, channel in itertools.product(range(8), range(3)):
        colors[:, channel] |= (((np.arange(256) >> (3 * bit + channel)) & 1) << (7 - bit)).astype(
            np.uint8
        )
    return colors


def hex_color(color: tuple[int, int, int]) -> str:
    """As #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def images_by_name(folder: Path) -> dict[str, Path]:
    """The image files of a folder by their names without suffix.

    Raises DataError where it can't be read or two have one name.
    """
    try:
        files = [path for path in visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise DataError(f"can't read {folder}: {error.strerror}") from error
    found: dict[str, Path] = {}
    for path in sorted(files):
        if stem(path) in found:
            raise DataError(f"{path} and {found[stem(path)].name} have the same name")
        found[stem(path)] = path
    return found
