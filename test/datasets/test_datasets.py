"""The readers of the official layouts, each on a tiny tree of its own."""

import contextlib
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from camss_ros.datasets.datasets import DATA_SETS, find_data_set, open_data
from camss_ros.images.image_files import DataError
from camss_ros.images.label_sets import LabelSetError, load_label_set

IDS = np.array([[7, 26, 0], [33, 23, 4]], np.uint8)  # Cityscapes' label ids: road, car, ...
TRAIN_IDS = [[0, 13, 255], [18, 10, 255]]
PICTURE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def panoptic(classes):
    """Class in red; green and blue number the instance."""
    return np.dstack([classes, np.full_like(classes, 1), np.full_like(classes, 200)])


def write_camvid(root):
    label = np.array([[0, 10, 11], [3, 255, 2]], np.uint8)
    for name in ("0016E5_07959", "0016E5_07961"):
        save(root / f"val/images/{name}.png", PICTURE)
        save(root / f"val/labels/{name}.png", label)
    return [[0, 10, 255], [3, 255, 2]]


def write_segnet_camvid(root):
    label = np.array([[0, 10, 11], [3, 11, 2]], np.uint8)
    for name in ("0016E5_07959", "0016E5_07961"):
        save(root / f"val/{name}.png", PICTURE)
        save(root / f"valannot/{name}.png", label)
    return [[0, 10, 255], [3, 255, 2]]


def write_camvid32(root):
    colors = np.array(
        [[(128, 64, 128), (0, 0, 0), (192, 64, 128)], [(64, 128, 64), (64, 192, 0), (0, 0, 0)]],
        np.uint8,
    )
    for name in ("0016E5_07959", "0016E5_08159", "0016E5_00390", "Seq05VD_f00000"):
        save(root / f"701_StillsRaw_full/{name}.png", PICTURE)
        save(root / f"LabeledApproved_full/{name}_L.png", colors)
    return [[17, 255, 25], [0, 30, 255]]  # Road, Void, Train; Animal, Wall, Void


def write_cityscapes(root):
    for frame in ("aachen/aachen_000000_000019", "ulm/ulm_000001_000019"):
        save(root / f"leftImg8bit/val/{frame}_leftImg8bit.png", PICTURE)
        save(root / f"gtFine/val/{frame}_gtFine_labelIds.png", IDS)
        save(root / f"gtFine/val/{frame}_gtFine_color.png", PICTURE)
    return TRAIN_IDS


def write_acdc(root):
    for condition, sequence in (("fog", "GOPR0476"), ("night", "GP010376")):
        for number in (761, 769):
            frame = f"{sequence}/{sequence}_frame_{number:06}"
            save(root / f"rgb_anon/{condition}/val/{frame}_rgb_anon.png", PICTURE)
            save(root / f"rgb_anon/{condition}/val_ref/{frame}_rgb_ref_anon.png", PICTURE)
            save(root / f"gt/{condition}/val/{frame}_gt_labelIds.png", IDS)
            save(root / f"gt/{condition}/val/{frame}_gt_invIds.png", IDS)
        save(root / f"gt/{condition}/val_ref/{frame}_gt_ref_labelIds.png", IDS)
    return TRAIN_IDS


def write_kitti(root):
    for frame in ("0002/000000", "0018/000338"):
        save(root / f"images/val/{frame}.png", PICTURE)
        save(root / f"panoptic_maps/val/{frame}.png", panoptic(np.array(TRAIN_IDS, np.uint8)))
    return TRAIN_IDS


def write_unpacked_kitti(root):
    """As KITTI's archives unpack: the images of both splits together."""
    for split, frame in (("val", "0002/000000"), ("val", "0018/000338"), ("train", "0000/000001")):
        save(root / f"training/image_02/{frame}.png", PICTURE)
        save(
            root / f"kitti-step/panoptic_maps/{split}/{frame}.png",
            panoptic(np.array(TRAIN_IDS, np.uint8)),
        )
    return TRAIN_IDS


def write_cad_edgetune(root):
    for sequence, frame in (("SEQ1", "frame0003"), ("SEQ13", "frame0008"), ("SEQ2", "frame0003")):
        save(root / f"{sequence}/Images/{frame}.jpg", PICTURE)
        save(root / f"{sequence}/LabelMasks/{frame}_label_mask.png", IDS)
    return TRAIN_IDS


def write_folder(root, split=""):
    for name, suffix in (("a", "bmp"), ("b", "webp")):
        save(root / split / f"images/{name}.{suffix}", PICTURE)
        save(root / split / f"labels/{name}.png", np.array([[0, 1, 9], [1, 1, 255]], np.uint8))
    (root / "label_set.yaml").write_text(
        "classes: [{id: 0, name: free, color: [1, 2, 3]}, {id: 1, name: wall, color: [4, 5, 6]}]\n"
        "void: {file_values: [9, 255]}\n"
    )
    return [[0, 1, 255], [1, 1, 255]]


def write_split_folder(root):
    return write_folder(root, "val")


# data set, writer of a whole tree, split, names, an image and a label file of it
TREES = [
    ("camvid", write_camvid, "val", ["0016E5_07959", "0016E5_07961"],
     "val/images/0016E5_07961.png", "val/labels/0016E5_07961.png"),
    ("camvid", write_segnet_camvid, "val", ["0016E5_07959", "0016E5_07961"],
     "val/0016E5_07961.png", "valannot/0016E5_07961.png"),
    ("camvid32", write_camvid32, "val", ["0016E5_07959", "0016E5_08159"],
     "701_StillsRaw_full/0016E5_08159.png", "LabeledApproved_full/0016E5_08159_L.png"),
    ("cityscapes", write_cityscapes, "val", ["aachen_000000_000019", "ulm_000001_000019"],
     "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png",
     "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png"),
    ("acdc-fog", write_acdc, "val",
     ["fog_GOPR0476_frame_000761", "fog_GOPR0476_frame_000769"],
     "rgb_anon/fog/val/GOPR0476/GOPR0476_frame_000769_rgb_anon.png",
     "gt/fog/val/GOPR0476/GOPR0476_frame_000769_gt_labelIds.png"),
    ("kitti-step", write_kitti, "val", ["0002_000000", "0018_000338"],
     "images/val/0018/000338.png", "panoptic_maps/val/0018/000338.png"),
    ("kitti-step", write_unpacked_kitti, "val", ["0002_000000", "0018_000338"],
     "training/image_02/0018/000338.png", "kitti-step/panoptic_maps/val/0018/000338.png"),
    ("cad-edgetune", write_cad_edgetune, "val", ["SEQ1_frame0003", "SEQ13_frame0008"],
     "SEQ1/Images/frame0003.jpg", "SEQ1/LabelMasks/frame0003_label_mask.png"),
    ("folder", write_folder, "all", ["a", "b"], "images/b.webp", "labels/b.png"),
    ("folder", write_split_folder, "val", ["a", "b"], "val/images/b.webp", "val/labels/b.png"),
]  # fmt: skip
each_tree = pytest.mark.parametrize(
    ("name", "write", "split", "names", "image", "label"),
    TREES,
    ids=lambda it: getattr(it, "__name__", ""),
)


def test_every_data_set_is_tested():
    assert {name for name, *_ in TREES} >= set(DATA_SETS) - {
        "acdc", "acdc-night", "acdc-rain", "acdc-snow"
    }  # fmt: skip


@each_tree
def test_a_whole_tree_is_read(tmp_path, name, write, split, names, image, label):
    expected = write(tmp_path)
    images = open_data(name, tmp_path, split)
    assert [images[i][2] for i in range(len(images))] == names
    for index in range(len(images)):
        picture, ids, _ = images[index]
        assert picture.dtype == ids.dtype == np.uint8
        assert ids.tolist() == expected
        if not image.endswith((".jpg", ".webp")):
            np.testing.assert_array_equal(picture, PICTURE)
    assert split in find_data_set(name).splits(tmp_path)


@each_tree
def test_unpaired_files_are_named_with_what_is_missing(
    tmp_path, name, write, split, names, image, label
):
    write(tmp_path)
    (tmp_path / label).unlink()
    with pytest.raises(DataError) as missing_label:
        open_data(name, tmp_path, split)
    assert f"no label for {tmp_path / image}: expected {tmp_path / label}" in str(
        missing_label.value
    )
    write(tmp_path)
    (tmp_path / image).unlink()
    with pytest.raises(DataError) as missing_image:
        open_data(name, tmp_path, split)
    assert f"no image for {tmp_path / label}: expected {tmp_path}" in str(missing_image.value)


def read_named(name, root, split, sample):
    images = open_data(name, root, split)
    return images[[it.label for it in images.samples].index(root / sample)]


@each_tree
def test_broken_files_are_named(tmp_path, name, write, split, names, image, label):
    write(tmp_path)
    path = tmp_path / label
    whole = path.read_bytes()
    pixels = np.array(Image.open(path))

    pixels[0, 1] = 250  # no class, no colour of one
    save(path, pixels)
    with pytest.raises(
        DataError, match=rf"{path.name} has the (values 250|colours \(250, 250, 250)"
    ):
        read_named(name, tmp_path, split, label)

    save(path, np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels[..., 0])
    with pytest.raises(DataError, match=rf"{path.name} has pixels of mode (RGB|L): expected"):
        read_named(name, tmp_path, split, label)

    save(path, np.zeros((5, 4, 3) if pixels.ndim == 3 else (5, 4), np.uint8))
    with pytest.raises(DataError, match=rf"(?s)sizes differ: .*3 x 2, .*{path.name} is 4 x 5"):
        read_named(name, tmp_path, split, label)

    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{path.name} can't be read"):
        read_named(name, tmp_path, split, label)

    path.write_bytes(whole)
    whole = (tmp_path / image).read_bytes()
    (tmp_path / image).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{(tmp_path / image).name} can't be read"):
        read_named(name, tmp_path, split, label)


@each_tree
def test_missing_folders_are_named(tmp_path, name, write, split, names, image, label):
    with pytest.raises(DataError, match=r"no data folder .*nowhere: expected .*nowhere/"):
        open_data(name, tmp_path / "nowhere", split)
    with pytest.raises(DataError, match=f"no (split|folder) .*expected {tmp_path}/"):
        open_data(name, tmp_path, split)
    write(tmp_path)
    with pytest.raises(DataError, match=f"no split 'moon'.* has the splits .*{split}"):
        open_data(name, tmp_path, "moon")


def test_labels_without_any_image_and_the_reverse_are_refused(tmp_path):
    write_cityscapes(tmp_path)
    (tmp_path / "gtFine").rename(tmp_path / "gtCoarse")
    with pytest.raises(DataError, match=r"no folder .*gtFine/val: expected .*gtFine/\{split\}"):
        open_data("cityscapes", tmp_path, "val")
    (tmp_path / "gtFine/val").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no labels in .* looked for .*gtFine/val/\{city\}"):
        open_data("cityscapes", tmp_path, "val")
    with pytest.raises(DataError, match=r"unknown data set 'mars': expected one of camvid, .*acdc"):
        open_data("mars", tmp_path, "val")


def test_acdc_tells_adverse_from_reference_frames(tmp_path):
    write_acdc(tmp_path)
    adverse = open_data("acdc", tmp_path, "val")
    assert len(adverse) == 4
    assert not any("_ref" in str(sample.image) for sample in adverse.samples)
    reference = open_data("acdc", tmp_path, "val_ref")
    assert [sample.name for sample in reference.samples] == [
        "fog_GOPR0476_frame_000769_ref", "night_GP010376_frame_000769_ref",
    ]  # fmt: skip
    listing = find_data_set("acdc").list(tmp_path, "val_ref")
    assert listing.unlabelled == 2  # not all reference frames are labelled, which is no fault
    assert not listing.problems
    assert len(open_data("acdc-night", tmp_path, "val")) == 2
    # A reference frame that strayed among the adverse ones is not one of them.
    save(tmp_path / "rgb_anon/fog/val/GOPR0476/GOPR0476_frame_000900_rgb_ref_anon.png", PICTURE)
    assert len(open_data("acdc-fog", tmp_path, "val")) == 2


def test_splits_without_folders(tmp_path):
    write_camvid32(tmp_path)
    names = {
        split: [sample.name for sample in open_data("camvid32", tmp_path, split).samples]
        for split in ("train", "val", "test", "all")
    }
    assert names["train"] == ["0016E5_00390"]
    assert names["test"] == ["Seq05VD_f00000"]
    assert sorted(names["train"] + names["val"] + names["test"]) == names["all"]
    write_cad_edgetune(tmp_path / "cad")
    assert len(open_data("cad-edgetune", tmp_path / "cad", "train")) == 1
    assert len(open_data("cad-edgetune", tmp_path / "cad", "all")) == 3
    assert find_data_set("cad-edgetune").splits(tmp_path / "cad") == ("train", "val")
    shutil.rmtree(tmp_path / "cad/SEQ2")
    assert find_data_set("cad-edgetune").splits(tmp_path / "cad") == ("val",)


def test_camvid_has_the_splits_of_segnet():
    """Every 30th frame of four drives, and every second one of a part of 0016E5."""
    (layout,) = DATA_SETS["camvid32"].layouts

    def splits(names):
        return Counter(layout.split_of({"frame": name}) for name in names)

    assert splits(f"0001TP_{n:06}" for n in range(6690, 10381, 30)) == {"train": 62, "test": 62}
    assert splits(f"Seq05VD_f{n:05}" for n in range(0, 5101, 30)) == {"test": 171}
    assert splits(f"0006R0_f{n:05}" for n in range(930, 3931, 30)) == {"train": 101}
    assert splits(f"0016E5_{n:05}" for n in range(7959, 8160, 2)) == {"val": 101}
    assert splits(["0016E5_07950", "0016E5_08160", "0006R0_f08000", "mine"]) == {"train": 4}


def test_labels_are_mapped_onto_another_label_set(tmp_path):
    write_cityscapes(tmp_path)
    images = open_data("cityscapes", tmp_path, "val", label_set="camvid11")
    assert images.label_set == load_label_set("camvid11")
    assert images[0][1].tolist() == [[3, 8, 255], [10, 0, 255]]  # road, car; bicyclist, sky
    write_camvid32(tmp_path)
    grouped = open_data("camvid32", tmp_path, "val", label_set="camvid11")
    assert grouped[0][1].tolist() == [[3, 255, 8], [9, 1, 255]]
    with pytest.raises(LabelSetError, match="cityscapes19 has no mapping onto camvid32"):
        open_data("cityscapes", tmp_path, "val", label_set="camvid32")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), keep=st.integers(0, 10_000))
def test_a_damaged_label_is_read_or_refused(tmp_path, position, value, keep):
    write_folder(tmp_path)
    path = tmp_path / "labels/a.png"
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data[: 1 + keep % len(data)])
    images = open_data("folder", tmp_path, "all")
    with contextlib.suppress(DataError):
        assert set(np.unique(images[0][1])) <= {0, 1, 255}
