"""Reading a whole split: what is missing or broken, and how often each class occurs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from camss_ros.datasets.labeled_images import LabeledImages
from camss_ros.images.image_files import DataError


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
