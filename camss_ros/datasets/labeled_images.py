"""Labelled images of any data set, one split, by index."""

from __future__ import annotations

from collections.abc import Sequence

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
