"""Labelled images in folders: ROOT/SPLIT/images and ROOT/SPLIT/labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from camss_ros.data.label_sets import LabelSet

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class DataError(ValueError):
    """A data set is not laid out, or a file does not hold, what was expected; says which."""


class LabeledFolder:
    """The pairs of one split: `images/NAME.{png,jpg,jpeg,webp}` with `labels/NAME.png`.

    Label files hold class ids, grey or as palette indices, as `label_set` numbers them.

    Raises DataError for missing folders and for files without their counterpart; reading an item
    raises it for files that are no images, sizes that differ and unknown label values.
    """

    def __init__(self, root: str | Path, split: str, label_set: LabelSet) -> None:
        self.label_set = label_set
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"no data folder {root}: expected {root}/{split}/images and /labels")
        if not (root / split).is_dir():
            splits = sorted(path.name for path in root.iterdir() if (path / "images").is_dir())
            there = f"{root} has the splits {', '.join(splits)}" if splits else f"{root} has none"
            raise DataError(f"no split {split!r}: looked for {root / split}; {there}")
        images = _files(root / split / "images", IMAGE_SUFFIXES)
        labels = _files(root / split / "labels", (".png",))
        _check_pairs(root / split, images, labels)
        self._pairs = [(images[name], labels[name]) for name in sorted(images)]
        self._class_ids = label_set.from_file_values()

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """(image uint8 [H, W, 3] RGB, label uint8 [H, W] with 255 for void, name)."""
        image_path, label_path = self._pairs[index]
        image = cv2.imread(str(image_path), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{image_path} can't be read as an image")
        label = self._read_label(label_path)
        if image.shape[:2] != label.shape:
            (height, width), (label_height, label_width) = image.shape[:2], label.shape
            raise DataError(
                f"sizes differ: {image_path} is {width} x {height}, "
                f"{label_path} is {label_width} x {label_height}"
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), label, image_path.stem

    def _read_label(self, path: Path) -> np.ndarray:
        # Pillow keeps the indices of palette images, of which OpenCV returns the colours.
        try:
            with Image.open(path) as file:
                mode, values = file.mode, np.array(file)
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{path} can't be read as an image: {error}") from error
        if mode not in ("L", "P"):
            raise DataError(
                f"label {path} has pixels of mode {mode}: expected class ids, 8-bit grey or indexed"
            )
        label = self._class_ids[values]
        if (label < 0).any():
            unknown = ", ".join(map(str, np.unique(values[label < 0]).tolist()))
            void = " or ".join(map(str, self.label_set.void_values))
            raise DataError(
                f"label {path} has the values {unknown}: label set {self.label_set.name} has the "
                f"classes 0 to {len(self.label_set.classes) - 1}, and {void} for void"
            )
        return label.astype(np.uint8)


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of a folder by their name without suffix."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in files:
            raise DataError(f"{path} and {files[path.stem].name} have the same name")
        files[path.stem] = path
    return files


def _check_pairs(folder: Path, images: dict[str, Path], labels: dict[str, Path]) -> None:
    if not images:
        raise DataError(f"no images ({', '.join(IMAGE_SUFFIXES)}) in {folder / 'images'}")
    for have, others, missing in ((images, labels, "label"), (labels, images, "image")):
        lonely = [have[name] for name in have if name not in others]
        if lonely:
            more = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
            raise DataError(f"no {missing} of the same name for {lonely[0]}{more}")
