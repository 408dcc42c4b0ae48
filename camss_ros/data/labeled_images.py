"""Labelled images of any data set, one split, by index."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from camss_ros.data.data_error import DataError
from camss_ros.data.image_files import read_image
from camss_ros.data.label_files import LabelReader
from camss_ros.data.label_sets import LabelSet
from camss_ros.data.layouts import Listing
from camss_ros.git_lfs import why_unreadable


class LabeledImages:
    """What every reader is: `len(images)`, `images[i]`, and the `label_set` of the labels.

    Args:
        listing: the files.
        read_label: reads a label file.
        label_sets: that of the files, then those that labels are mapped onto, one after the
            other; the last one is the reader's `label_set`.

    Raises LabelSetError without a mapping from one onto the next.
    """

    def __init__(
        self, listing: Listing, read_label: LabelReader, label_sets: Sequence[LabelSet]
    ) -> None:
        self.samples = listing.samples
        self.label_set = label_sets[-1]
        self._read_label = read_label
        self._file_labels = label_sets[0]
        self._table: np.ndarray = np.arange(256, dtype=np.uint8)
        for one, other in itertools.pairwise(label_sets):
            self._table = one.to(other)[self._table]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """(image uint8 [H, W, 3] RGB, label uint8 [H, W] with 255 for void, name).

        Raises DataError that names the file: no readable image, not of the label's size, a label
        of another format or with values that its label set does not know.
        """
        sample = self.samples[index]
        image = read_image(sample.image)
        if image is None:
            reason = why_unreadable(sample.image, "it is damaged or of another format")
            raise DataError(f"{sample.image} can't be read as an image: {reason}")
        label = self._read_label(sample.label, self._file_labels)
        if image.shape[:2] != label.shape:
            (height, width), (label_height, label_width) = image.shape[:2], label.shape
            raise DataError(
                f"sizes differ: {sample.image} is {width} x {height}, "
                f"{sample.label} is {label_width} x {label_height}"
            )
        return image, self._table[label], sample.name


def complete(listing: Listing) -> Listing:
    """The listing; raises DataError that names a file without its counterpart, if there is one."""
    if listing.problems:
        more = len(listing.problems) - 1
        raise DataError(listing.problems[0] + (f" (and {more} more)" if more else ""))
    return listing
