"""What the tools write: shapes as their own libraries draw them, their folders, and their names."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from export_files import labelme_file, labelme_mask, write_labelme, write_supervisely

from camss_ros.datasets.exchange.annotations import ClassNames, unpacked
from camss_ros.datasets.exchange.formats import READERS, WRITERS
from camss_ros.datasets.exchange.prelabels import Prelabel
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet

SHAPE = (12, 17)
YARD = LabelSet(
    "yard",
    (
        LabelClass(0, "road", (128, 64, 128)),
        LabelClass(1, "kerb", (244, 35, 232)),
        LabelClass(2, "tree", (107, 142, 35)),
        LabelClass(3, "mast", (153, 153, 153)),
    ),
)
MACOS = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x02\xff"  # of a ._NAME


def read_one(format_name: str, root: Path, label_set: LabelSet = YARD) -> np.ndarray:
    (found,) = READERS[format_name](root, ClassNames(label_set))
    return found.read(SHAPE)


def read_labelme(folder: Path, *shapes: dict[str, Any]) -> np.ndarray:
    (folder / "one.json").write_text(labelme_file("one", SHAPE, list(shapes)))
    return read_one("labelme", folder)


def read_supervisely(folder: Path, *objects: dict[str, Any]) -> np.ndarray:
    void = {"one": np.full(SHAPE, 255, np.uint8)}
    write_supervisely(folder, {"one": np.zeros((*SHAPE, 3), np.uint8)}, void, YARD)
    file = folder / "project" / "dataset" / "ann" / "one.png.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "objects": objects}))
    return read_one("supervisely", folder)


def test_shapes_of_labelme_cover_each_other_in_their_order(tmp_path: Path) -> None:
    square = [[2, 1], [9.4, 1], [9.4, 8], [2, 8]]
    label = read_labelme(
        tmp_path,
        {"label": "tree", "shape_type": "polygon", "points": square},
        {"label": "_background_", "shape_type": "rectangle", "points": [[5, 6], [3, 4]]},
        {"label": "mast", "shape_type": "circle", "points": [[14, 6], [14, 8]]},
        labelme_mask(np.array([[1, 0], [1, 1]], bool), "road", 12, 0),
    )
    expected = np.full(SHAPE, 255, np.uint8)
    expected[1:9, 2:10] = 2
    expected[4:7, 3:6] = 255
    expected[0:2, 12], expected[1, 13] = 0, 0
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disc = (yy - 6) ** 2 + (xx - 14) ** 2 <= 4
    assert (label[disc] == 3).all()
    expected[label == 3] = 3  # Pillow rounds the rim
    assert (label == 3).sum() <= 21
    np.testing.assert_array_equal(label, expected)


def test_oriented_rectangles_of_labelme_are_polygons(tmp_path: Path) -> None:
    corners = [[4, 1], [9, 6], [6, 9], [1, 4]]
    oriented = {"label": "tree", "shape_type": "oriented_rectangle", "points": corners}
    label = read_labelme(tmp_path, oriented)
    assert (label == 2).sum() > 20
    np.testing.assert_array_equal(
        label, read_labelme(tmp_path, {**oriented, "shape_type": "polygon"})
    )


@pytest.mark.parametrize(("x", "y", "rows", "columns"), [
    (4.6, 2.4, slice(2, 5), slice(5, 9)),
    (14.7, 10.6, slice(11, 12), slice(15, 17)),
    (-1.2, -2.0, slice(0, 1), slice(0, 3)),
])  # fmt: skip
def test_masks_of_labelme_that_were_moved_are_where_it_draws_them(
    tmp_path: Path, x: float, y: float, rows: slice, columns: slice
) -> None:
    moved = labelme_mask(np.ones((3, 4), bool), "kerb", 0, 0)
    moved["points"] = [[x, y], [x + 3, y + 2]]
    expected = np.full(SHAPE, 255, np.uint8)
    expected[rows, columns] = 1
    np.testing.assert_array_equal(read_labelme(tmp_path, moved), expected)


def test_lines_of_labelme_are_named(tmp_path: Path) -> None:
    line = {"label": "mast", "shape_type": "linestrip", "points": [[2, 1], [9, 1], [9, 8]]}
    with pytest.raises(DataError) as error:
        read_labelme(tmp_path, line)
    assert f"{tmp_path}/one.json: 'mast' is drawn as 'linestrip'" in str(error.value)
    assert "expected polygon" in str(error.value)


def test_coco_instances_are_told_from_panoptic(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "one.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
        "categories": [{"id": 1, "name": "road"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"instances\.json has .* instances: expected .* panoptic"):
        read_one("coco-panoptic", tmp_path)
    (tmp_path / "instances.json").write_text(json.dumps({**content, "images": [{"id": 1}]}))
    with pytest.raises(DataError, match=r"is no COCO panoptic file .*: no entry 'file_name'"):
        read_one("coco-panoptic", tmp_path)


def test_polygons_of_supervisely_have_holes(tmp_path: Path) -> None:
    outer, hole = [[1, 1], [10, 1], [10, 9], [1, 9]], [[4, 3], [6, 3], [6, 5], [4, 5]]
    label = read_supervisely(
        tmp_path,
        {"geometryType": "polygon", "classTitle": "tree",
         "points": {"exterior": outer, "interior": [hole]}},
        {"geometryType": "rectangle", "classTitle": "mast",
         "points": {"exterior": [[12, 2], [14, 5]], "interior": []}},
    )  # fmt: skip
    expected = np.full(SHAPE, 255, np.uint8)
    expected[1:10, 1:11] = 2
    expected[3:6, 4:7] = 255
    expected[2:6, 12:15] = 3
    np.testing.assert_array_equal(label, expected)


def test_rectangles_of_supervisely_are_drawn_from_any_corner(tmp_path: Path) -> None:
    points = {"exterior": [[14, 2], [12, 5]], "interior": []}
    label = read_supervisely(
        tmp_path, {"geometryType": "rectangle", "classTitle": "mast", "points": points}
    )
    assert (label[2:6, 12:15] == 3).all()
    assert (label == 3).sum() == 12


def test_datasets_of_supervisely_within_another_are_read(tmp_path: Path) -> None:
    labels = {name: np.full(SHAPE, n, np.uint8) for n, name in enumerate(("one", "two"))}
    images = {name: np.zeros((*SHAPE, 3), np.uint8) for name in labels}
    write_supervisely(tmp_path, images, labels, YARD)
    dataset = tmp_path / "project" / "dataset"
    for part, name in (("ann", "two.png.json"), ("img", "two.png")):
        (dataset / "datasets" / "inner" / part).mkdir(parents=True)
        (dataset / part / name).rename(dataset / "datasets" / "inner" / part / name)
    found = {it.name: it for it in READERS["supervisely"](tmp_path, ClassNames(YARD))}
    assert found.keys() == labels.keys()
    assert found["two"].image is not None
    assert found["two"].image.is_file()
    assert (found["two"].read(SHAPE) == 1).all()


def test_segments_of_coco_in_folders_of_their_own_are_read(tmp_path: Path) -> None:
    label = np.full(SHAPE, 2, np.uint8)
    WRITERS["coco-panoptic"]([Prelabel(tmp_path / "one.png", label)], YARD, tmp_path)
    (tmp_path / "panoptic" / "drive").mkdir()
    (tmp_path / "panoptic" / "one.png").rename(tmp_path / "panoptic" / "drive" / "one.png")
    file = tmp_path / "panoptic.json"
    file.write_text(file.read_text().replace('"one.png"', '"drive/one.png"'))
    np.testing.assert_array_equal(read_one("coco-panoptic", tmp_path), label)


def test_a_background_that_is_a_class_is_read_as_that(tmp_path: Path) -> None:
    """CVAT gives a label of that name the colour of what has none, black."""
    masks = tmp_path / "SegmentationClass"
    masks.mkdir()
    colors = np.zeros((*SHAPE, 3), np.uint8)
    colors[:, 5:] = 51, 221, 255
    cv2.imwrite(str(masks / "one.png"), colors[..., ::-1])
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nroad:51,221,255::\n")
    expected = np.full(SHAPE, 255, np.uint8)
    expected[:, 5:] = 0
    np.testing.assert_array_equal(read_one("cvat", tmp_path), expected)
    with_it = LabelSet("b", (*YARD.classes, LabelClass(4, "background", (1, 1, 1))))
    np.testing.assert_array_equal(
        read_one("cvat", tmp_path, with_it), np.where(expected == 255, 4, 0)
    )


def test_what_pascal_voc_ignores_is_void(tmp_path: Path) -> None:
    masks = tmp_path / "SegmentationClass"
    masks.mkdir()
    cv2.imwrite(str(masks / "one.png"), np.full((*SHAPE, 3), (192, 224, 224), np.uint8))
    text = "\ufeff# label\r\nbackground:0,0,0::\r\nroad:51,221,255::\r\nignored:224,224,192::\r\n"
    (tmp_path / "labelmap.txt").write_bytes(text.encode())  # as editors on Windows save it
    assert (read_one("cvat", tmp_path) == 255).all()


@pytest.mark.parametrize("format_name", ["cvat", "png"])
def test_an_archive_of_the_folder_itself_gives_what_is_in_it(
    tmp_path: Path, format_name: str
) -> None:
    label = np.full(SHAPE, 1, np.uint8)
    task = tmp_path / "packed" / "task"
    task.mkdir(parents=True)
    WRITERS[format_name]([Prelabel(tmp_path / "one.png", label)], YARD, task)
    if format_name == "cvat":
        zipfile.ZipFile(task / "annotations.zip").extractall(task)
    (tmp_path / "packed" / "__MACOSX").mkdir()
    (tmp_path / "packed" / "__MACOSX" / "._task").write_bytes(MACOS)
    archive = shutil.make_archive(str(tmp_path / "task"), "zip", tmp_path / "packed")
    with unpacked(Path(archive)) as root:
        np.testing.assert_array_equal(read_one(format_name, root), label)


@pytest.mark.parametrize("format_name", ["labelme", "supervisely", "cvat", "png"])
def test_files_that_macos_adds_are_no_labels(tmp_path: Path, format_name: str) -> None:
    label = np.full(SHAPE, 1, np.uint8)
    if format_name in WRITERS:
        WRITERS[format_name]([Prelabel(tmp_path / "one.png", label)], YARD, tmp_path)
    else:
        write = {"labelme": write_labelme, "supervisely": write_supervisely}[format_name]
        write(tmp_path, {"one": np.zeros((*SHAPE, 3), np.uint8)}, {"one": label}, YARD)
    if format_name == "cvat":
        zipfile.ZipFile(tmp_path / "annotations.zip").extractall(tmp_path)
    for path in [it for it in tmp_path.rglob("*") if it.is_file()]:
        for folder in (path.parent, tmp_path / "__MACOSX" / path.parent.relative_to(tmp_path)):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"._{path.name}").write_bytes(MACOS)
    np.testing.assert_array_equal(read_one(format_name, tmp_path), label)
