"""Labelled images of any data set, one split, by index, and reading all of them as a check."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from camss_ros.datasets.layouts import Listing
from camss_ros.images.image_files import DataError, read_image, why_no_image
from camss_ros.images.label_files import LabelFiles, LabelReader
from camss_ros.images.label_sets import LabelSet


class LabeledImages:
    """What every reader is: `len(images)`, `images[i]`, and the `label_set` of the labels.

    Args:
        listing: the files.
        label_sets, read_label: as of `LabelFiles`; the last set is the reader's `label_set`.

    Raises LabelSetError without a mapping from one onto the next.
    """

    def __init__(
        self,
        listing: Listing,
        label_sets: Sequence[LabelSet],
        read_label: LabelReader | None = None,
    ) -> None:
        self.samples = listing.samples
        self._labels = LabelFiles(label_sets, read_label)
        self.label_set = self._labels.label_set

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def files(self) -> list[Path]:
        """The images and their labels, one after the other."""
        return [path for sample in self.samples for path in (sample.image, sample.label)]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """(image uint8 [H, W, 3] RGB, label uint8 [H, W] with 255 for void, name).

        Raises DataError that names the file: no readable image, not of the label's size, a label
        of another format or with values that its label set does not know.
        """
        sample = self.samples[index]
        image = read_image(sample.image)
        if image is None:
            raise DataError(why_no_image(sample.image))
        label = self._labels.read_of(sample.label, image, sample.image)
        return image, label, sample.name


def complete(listing: Listing) -> Listing:
    """The listing; raises DataError that names a file without its counterpart, if there is one."""
    if listing.problems:
        more = len(listing.problems) - 1
        raise DataError(listing.problems[0] + (f" (and {more} more)" if more else ""))
    return listing


@dataclass
class Contents:
    """What the readable samples of a split hold.

    Attributes:
        problems: a sentence for each sample that can't be read.
        sizes: number of samples of each (height, width).
        pixels: int64 [256], number of pixels of each class id, 255 for void.
    """

    problems: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def share(self, class_id: int) -> float:
        """Share of the pixels with a class that have this one; NaN where none has any."""
        labelled = int(self.pixels[:255].sum())
        return int(self.pixels[class_id]) / labelled if labelled else float("nan")

    def void_share(self) -> float:
        """Share of all pixels that have no class; NaN without pixels."""
        total = int(self.pixels.sum())
        return int(self.pixels[255]) / total if total else float("nan")


def read_all(images: LabeledImages, progress: Callable[[], None] = lambda: None) -> Contents:
    """Read every sample; `progress` is called after each."""
    contents = Contents()
    # Decoding files leaves the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for summary in pool.map(lambda index: _summary(images, index), range(len(images))):
            if isinstance(summary, str):
                contents.problems.append(summary)
            else:
                size, pixels = summary
                contents.sizes[size] += 1
                contents.pixels += pixels
            progress()
    return contents


def _summary(images: LabeledImages, index: int) -> tuple[tuple[int, int], np.ndarray] | str:
    try:
        _, label, _ = images[index]
    except DataError as error:
        return str(error)
    return (label.shape[0], label.shape[1]), np.bincount(label.ravel(), minlength=256)
