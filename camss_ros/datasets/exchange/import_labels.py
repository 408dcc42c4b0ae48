"""A tool's labels into a data set: `{train,val}/{images,labels}` and `label_set.yaml`.

output/SPLIT/images/NAME.*    copies of the images
output/SPLIT/labels/NAME.png  class ids of label_set.yaml, 255 is void
output/label_set.yaml
output/import.json            of each frame: split, drive, and what pick.json says of it
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.datasets.exchange.annotations import (
    Annotation,
    ClassNames,
    naming,
    read_json,
    stem_of,
    unpacked,
)
from camss_ros.datasets.exchange.drive_split import FrameOfDrive, Split, split_by_drive
from camss_ros.datasets.exchange.formats import READERS, find_format
from camss_ros.datasets.exchange.prelabels import images_by_name
from camss_ros.datasets.picking.drives import drive_of
from camss_ros.datasets.picking.pick_folder import PICK_FILE
from camss_ros.images.image_files import DataError, encode_image, read_image, why_no_image
from camss_ros.images.label_files import check_size
from camss_ros.images.label_sets import LabelSet, save_label_set

_SAID = 10  # problems in a message


@dataclass(frozen=True)
class ImportedLabels:
    """What an import has made of an export.

    Attributes:
        split: names of the frames.
        val_drives: the drives for validation.
        unlabelled: images of which the export has no labels.
    """

    split: Split
    val_drives: tuple[str, ...]
    unlabelled: tuple[str, ...]


def import_labels(
    source: Path,
    format_name: str,
    label_set: LabelSet,
    images: Path | None,
    output: Path,
    val_drives: Sequence[str] = (),
    on_frames: Callable[[int], None] = lambda count: None,
    on_frame: Callable[[], None] = lambda: None,
) -> ImportedLabels:
    """Write the data set `output` from an export.

    Args:
        source: the archive, folder or file that the tool has exported.
        format_name: one of `READERS`.
        label_set: of the data set; every label of the export has its class there, by name.
        images: the images, or a folder of picked frames; None where the export has them.
        output: must not exist, or be empty. Nothing is left there where anything is wrong.
        val_drives: as `wanted` of `split_by_drive`.
        on_frames, on_frame: told of the number of frames, and after each.

    Raises DataError that names each file that is wrong (unknown labels, missing images, other
    sizes, what can't be read), OSError.
    """
    read = find_format(format_name, READERS)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is there already: choose another folder or delete it")
    known = _images(images)
    picked = _picked(images)
    with unpacked(source) as root:
        annotations = list(read(root, ClassNames(label_set)))
        if not annotations:
            raise DataError(f"{source} has no labelled image")
        _check_names(annotations)
        files = _match(annotations, known, images)
        frames = [_frame(it, picked) for it in annotations]
        split = split_by_drive(frames, val_drives)
        parts = dict.fromkeys(split.train, "train") | dict.fromkeys(split.val, "val")
        on_frames(len(parts))
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{output.name}-", dir=output.parent, ignore_cleanup_errors=True
        ) as scratch:
            folder = Path(scratch) / output.name
            problems = []
            for annotation in annotations:
                if annotation.name not in parts:
                    continue
                try:
                    _write(annotation, files[annotation.name], folder / parts[annotation.name])
                except DataError as error:
                    problems.append(str(error))
                on_frame()
            _raise(problems)
            save_label_set(label_set, folder / "label_set.yaml")
            described = {
                "format": format_name,
                "source": source.name,
                "left_out": split.left_out,
                "frames": {
                    frame.name: {
                        **picked.get(_origin(annotation), {}),
                        "split": parts[frame.name],
                        "drive": frame.drive,
                    }
                    for frame, annotation in zip(frames, annotations, strict=True)
                    if frame.name in parts
                },
            }
            text = json.dumps(described, indent=2) + "\n"
            (folder / "import.json").write_text(text, encoding="utf-8")
            folder.replace(output)
    labelled = {_origin(it) for it in annotations} | {it.name for it in annotations}
    return ImportedLabels(
        split,
        tuple(sorted({frame.drive for frame in frames if parts.get(frame.name) == "val"})),
        tuple(sorted(known.keys() - labelled)),
    )


def _write(annotation: Annotation, image: Path, folder: Path) -> None:
    pixels = read_image(image)
    if pixels is None:
        raise DataError(why_no_image(image))
    label = annotation.read(pixels.shape[:2])
    check_size(label, annotation.file, pixels, image)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, folder / "images" / f"{annotation.name}{image.suffix.lower()}")
    data = encode_image(label.astype(np.uint8), ".png")
    (folder / "labels" / f"{annotation.name}.png").write_bytes(data)


def _images(folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    inside = folder / "images"
    return images_by_name(inside if inside.is_dir() else folder)


def _picked(images: Path | None) -> dict[str, dict[str, Any]]:
    """What pick.json says of each frame, by name; {} without one."""
    for folder in (images, images.parent) if images is not None else ():
        file = folder / PICK_FILE
        if file.is_file():
            with naming(file, f"{PICK_FILE} of picked frames"):
                return {
                    stem_of(it["file"]): {**it, "drive": it["drive"], "stamp": it["stamp"]}
                    for it in read_json(file, PICK_FILE)["frames"]
                }
    return {}


def _check_names(annotations: Sequence[Annotation]) -> None:
    seen: dict[str, Path] = {}
    for one in annotations:
        if not one.name or one.name.startswith("."):
            raise DataError(f"{one.file}: its image has no name")
        if one.name in seen:
            raise DataError(f"two labels of image {one.name}: {seen[one.name]} and {one.file}")
        seen[one.name] = one.file


def _match(
    annotations: Sequence[Annotation], known: dict[str, Path], folder: Path | None
) -> dict[str, Path]:
    """The image of each annotation, by its name."""
    found, missing = {}, []
    for one in annotations:
        exported = one.image if one.image is not None and one.image.is_file() else None
        image = exported or known.get(one.name) or known.get(_origin(one))
        if image is None:
            where = f"in {folder}" if folder is not None else "in the export: give --images"
            missing.append(f"{one.file}: no image {one.name} {where}")
        else:
            found[one.name] = image
    _raise(missing)
    return found


def _frame(annotation: Annotation, picked: dict[str, dict[str, Any]]) -> FrameOfDrive:
    origin = _origin(annotation)
    entry = picked.get(origin) or {"drive": drive_of(origin), "stamp": None}
    return FrameOfDrive(annotation.name, entry["drive"], entry["stamp"])


def _origin(annotation: Annotation) -> str:
    return annotation.origin or annotation.name


def _raise(problems: Sequence[str]) -> None:
    if problems:
        more = f"\nand {len(problems) - _SAID} more" if len(problems) > _SAID else ""
        raise DataError("\n".join(problems[:_SAID]) + more)
