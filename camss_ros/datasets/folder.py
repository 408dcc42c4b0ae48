"""Labelled images in folders: ROOT/SPLIT/images and ROOT/SPLIT/labels."""

from __future__ import annotations

from pathlib import Path

from camss_ros.datasets.labeled_images import LabeledImages, complete
from camss_ros.datasets.layouts import Layout
from camss_ros.images.data_error import DataError
from camss_ros.images.label_sets import LabelSet

__all__ = ["SPLIT_FOLDERS", "DataError", "LabeledFolder"]

SPLIT_FOLDERS = Layout("{split}/images/{frame}{suffix}", "{split}/labels/{frame}.png")


class LabeledFolder(LabeledImages):
    """The pairs of one split: `images/NAME.{png,jpg,jpeg,webp}` with `labels/NAME.png`.

    Label files hold the class ids of `label_set`, grey or as palette indices, or its colours.

    Raises DataError for missing folders and for files without their counterpart; reading an item
    raises it for files that are no images, sizes that differ and unknown label values.
    """

    def __init__(self, root: str | Path, split: str, label_set: LabelSet) -> None:
        super().__init__(complete(SPLIT_FOLDERS.list(Path(root), split)), [label_set])
