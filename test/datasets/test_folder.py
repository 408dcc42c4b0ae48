"""Reading labelled images from folders."""

import dataclasses
import unicodedata

import cv2
import numpy as np
import pytest
from PIL import Image

from camss_ros.datasets.datasets import SPLIT_FOLDERS, open_data
from camss_ros.datasets.labeled_images import LabeledImages, complete
from camss_ros.images.frames import open_frames
from camss_ros.images.image_files import DataError
from camss_ros.images.label_sets import load_label_set

CAMVID = load_label_set("camvid11")


def labeled_folder(root, split, label_set):
    return LabeledImages(complete(SPLIT_FOLDERS.list(root, split)), [label_set])


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / "val" / folder).mkdir(parents=True)
    return tmp_path


def write(root, name, image, label, suffix=".png"):
    path = root / "val" / "images" / f"{name}{suffix}"
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    Image.fromarray(label).save(root / "val" / "labels" / f"{name}.png")


def picture(height=4, width=6):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_pairs_come_in_order_as_rgb_with_void_mapped(root):
    label = np.array([[0, 10, 11, 255]], np.uint8)
    write(root, "b", picture(1, 4), label)
    write(root, "a", picture(1, 4)[:, ::-1], label)
    folder = labeled_folder(root, "val", CAMVID)
    assert len(folder) == 2
    image, read, name = folder[1]
    assert name == "b"
    np.testing.assert_array_equal(image, picture(1, 4))
    assert read.dtype == np.uint8
    assert read.tolist() == [[0, 10, 255, 255]]
    assert folder[0][2] == "a"


def test_letters_that_macos_decomposes_are_the_same_name(root):
    write(root, "Brücke", picture(), np.zeros((4, 6), np.uint8))
    (image,) = (root / "val" / "images").iterdir()
    image.rename(image.with_name(unicodedata.normalize("NFD", image.name)))
    ((_, _, name),) = labeled_folder(root, "val", CAMVID)
    assert name == "Brücke"
    (frame,) = open_frames(str(root / "val"), CAMVID, with_labels=True)
    assert frame.label is not None


def test_frames_come_in_the_order_of_their_numbers_as_of_a_folder_of_images(root):
    for number in (10, 9, 2, 1):
        write(root, f"frame{number}", picture(), np.zeros((4, 6), np.uint8))
    folder = labeled_folder(root, "val", CAMVID)
    names = [name for _, _, name in folder]
    assert names == ["frame1", "frame2", "frame9", "frame10"]
    assert names == [frame.name for frame in open_frames(str(root / "val" / "images"))]


def test_indexed_label_files_give_indices(root):
    write(root, "a", picture(), np.full((4, 6), 3, np.uint8))
    indexed = Image.fromarray(np.full((4, 6), 9, np.uint8), mode="L").convert("P")
    indexed.putpalette([7, 8, 9] * 256)
    indexed.save(root / "val" / "labels" / "a.png")
    assert (labeled_folder(root, "val", CAMVID)[0][1] == 9).all()


@pytest.mark.parametrize("suffix", [".webp", ".jpg", ".JPEG"])
def test_image_formats(root, suffix):
    write(root, "a", picture(), np.zeros((4, 6), np.uint8), suffix)
    assert labeled_folder(root, "val", CAMVID)[0][0].shape == (4, 6, 3)


def test_suffixes_may_be_in_capitals(root):
    for name in "ab":
        write(root, name, picture(), np.zeros((4, 6), np.uint8), ".PNG")
        (root / f"val/labels/{name}.png").rename(root / f"val/labels/{name}.PNG")
    assert len(labeled_folder(root, "val", CAMVID)) == 2
    (root / "val/images/b.PNG").unlink()
    with pytest.raises(DataError) as error:
        labeled_folder(root, "val", CAMVID)
    assert str(error.value) == (
        f"no image for {root}/val/labels/b.PNG: expected {root}/val/images/b.PNG"
    )


def test_missing_places_are_named(root):
    with pytest.raises(DataError, match=r"no data folder .*nowhere"):
        labeled_folder(root / "nowhere", "val", CAMVID)
    with pytest.raises(DataError, match=r"no split 'test'.*/test.*splits val"):
        labeled_folder(root, "test", CAMVID)
    with pytest.raises(DataError, match="no images"):
        labeled_folder(root, "val", CAMVID)
    (root / "val" / "labels").rmdir()
    with pytest.raises(DataError, match=r"no folder .*labels"):
        labeled_folder(root, "val", CAMVID)


def test_a_folder_without_splits_is_not_said_to_lack_what_it_has(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "a.png"), np.zeros((4, 6), np.uint8))
    with pytest.raises(DataError) as error:
        open_data("folder", tmp_path, "val")
    assert str(error.value) == f"no split 'val': {tmp_path} has the splits all"


@pytest.mark.parametrize("label", ["labels/a.jpg", "masks/a.png"])
def test_images_without_a_label_file_of_the_layout_lack_labels(tmp_path, label):
    for file in ("images/a.png", label):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / file), np.zeros((4, 6), np.uint8))
    with pytest.raises(DataError) as error:
        open_data("folder", tmp_path, "val")
    looked = f"looked for {tmp_path}/labels/{{frame}}.png"
    assert str(error.value) == f"no labels in {tmp_path} for split 'val': {looked}"


def test_lonely_files_are_named(root):
    write(root, "a", picture(), np.zeros((4, 6), np.uint8))
    write(root, "b", picture(), np.zeros((4, 6), np.uint8))
    (root / "val" / "labels" / "b.png").unlink()
    with pytest.raises(DataError, match=r"no label .*images/b\.png"):
        labeled_folder(root, "val", CAMVID)
    (root / "val" / "images" / "b.png").unlink()
    (root / "val" / "images" / "a.png").rename(root / "val" / "images" / "c.png")
    with pytest.raises(DataError, match=r"no label .*c\.png"):
        labeled_folder(root, "val", CAMVID)


def test_two_images_of_one_name_are_refused(root):
    for suffix in (".png", ".jpg"):
        write(root, "a", picture(), np.zeros((4, 6), np.uint8), suffix)
    with pytest.raises(DataError, match=r"images/a\.(png and a\.jpg|jpg and a\.png) have the same"):
        labeled_folder(root, "val", CAMVID)


def test_bad_files_are_named(root):
    write(root, "a", picture(), np.full((4, 5), 3, np.uint8))
    with pytest.raises(DataError, match=r"6 x 4.*5 x 4"):
        labeled_folder(root, "val", CAMVID)[0]
    write(root, "a", picture(), np.full((6, 4), 3, np.uint8))
    with pytest.raises(DataError, match=r"6 x 4 \(does its EXIF part say .*4 x 6"):
        labeled_folder(root, "val", CAMVID)[0]
    write(root, "a", picture(), np.full((4, 6), 77, np.uint8))
    with pytest.raises(DataError, match=r"a\.png has the values 77.*0 to 10, and 11 or 255"):
        labeled_folder(root, "val", CAMVID)[0]
    with pytest.raises(DataError, match="0 to 10, and nothing for void"):
        labeled_folder(root, "val", dataclasses.replace(CAMVID, void_values=()))[0]
    write(root, "a", picture(), picture())
    with pytest.raises(DataError, match=r"mode RGB"):
        labeled_folder(root, "val", CAMVID)[0]
    (root / "val" / "labels" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"labels/a\.png can't be read"):
        labeled_folder(root, "val", CAMVID)[0]
    (root / "val" / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"images/a\.png can't be read"):
        labeled_folder(root, "val", CAMVID)[0]
