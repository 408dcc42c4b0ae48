"""Labels to labelling tools and back: the same pixels, and broken exports refused by name."""

import json
import shutil
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from export_files import write_labelme, write_roboflow, write_supervisely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets.datasets import open_data
from camss_ros.datasets.exchange.annotations import ClassNames
from camss_ros.datasets.exchange.brush_rle import decode_brush, encode_brush
from camss_ros.datasets.exchange.formats import READERS, WRITERS
from camss_ros.datasets.exchange.import_labels import ImportedLabels, import_labels
from camss_ros.datasets.exchange.prelabels import Prelabel, distinct_colors
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet, load_label_set, save_label_set

SHAPE = (12, 17)
# Names and colours that a tool may take amiss: black, a colour twice, an & and a comma.
ODD = LabelSet(
    "odd",
    (
        LabelClass(0, "road, wet", (0, 0, 0)),
        LabelClass(1, 'kerb & "edge"', (128, 64, 128)),
        LabelClass(2, "tree", (128, 64, 128)),
        LabelClass(3, "Ampel-Mast", (128, 0, 0)),
    ),
)
TOOLS = {"labelme": write_labelme, "roboflow": write_roboflow, "supervisely": write_supervisely}
NAMES = ("a_0001", "a_0002", "a_0003", "b_0001")


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SHAPE, 3), np.uint8)


def some_labels(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), SHAPE) for name in NAMES}


def write_export(
    root: Path, format_name: str, labels: dict[str, np.ndarray], label_set: LabelSet = ODD
) -> Path:
    """An export of the tool, and the images in root/images; returns what to import."""
    (root / "images").mkdir(parents=True)
    images = {name: picture(number) for number, name in enumerate(labels)}
    for name, pixels in images.items():
        cv2.imwrite(str(root / "images" / f"{name}.png"), pixels)
    export = root / "export"
    if format_name in TOOLS:
        TOOLS[format_name](export, images, labels, label_set)
        return export
    export.mkdir()
    prelabels = (Prelabel(root / "images" / f"{name}.png", it) for name, it in labels.items())
    WRITERS[format_name](prelabels, label_set, export)
    if format_name == "cvat":
        return export / "annotations.zip"
    if format_name == "label-studio":  # what it took as a prediction it exports as an annotation
        tasks = json.loads((export / "tasks.json").read_text())
        for task in tasks:
            task["annotations"] = task.pop("predictions")
        (export / "tasks.json").write_text(json.dumps(tasks))
    return export


def bring_in(
    root: Path, format_name: str, source: Path, label_set: LabelSet = ODD, **options: Any
) -> ImportedLabels:
    return import_labels(source, format_name, label_set, root / "images", root / "data", **options)


def read_back(data: Path) -> dict[str, np.ndarray]:
    found = {}
    for split in ("train", "val"):
        images = open_data("folder", data, split)
        for index in range(len(images)):
            _, label, name = images[index]
            found[name.partition("_png.rf.")[0]] = label
    return found


@pytest.mark.parametrize("format_name", READERS)
def test_labels_come_back_pixel_for_pixel(tmp_path: Path, format_name: str) -> None:
    labels = some_labels()
    bring_in(tmp_path, format_name, write_export(tmp_path, format_name, labels))
    found = read_back(tmp_path / "data")
    assert found.keys() == labels.keys()
    for name, label in labels.items():
        np.testing.assert_array_equal(found[name], label)
    written = load_label_set(tmp_path / "data" / "label_set.yaml")
    assert written.classes == ODD.classes


@pytest.mark.parametrize("format_name", READERS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                    elements=st.sampled_from([0, 1, 2, 3, 255])))  # fmt: skip
def test_a_label_of_any_size_comes_back(
    tmp_path: Path, format_name: str, label: np.ndarray
) -> None:
    shutil.rmtree(tmp_path)
    source = write_export(tmp_path, format_name, {"a_1": label})
    if source.suffix == ".zip":
        zipfile.ZipFile(source).extractall(tmp_path / "unpacked")
        source = tmp_path / "unpacked"
    (found,) = READERS[format_name](source, ClassNames(ODD))
    np.testing.assert_array_equal(found.read(label.shape), label)  # type: ignore[arg-type]


@given(mask=arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_brush_run_lengths(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), *mask.shape), mask)


def test_brush_run_lengths_beyond_the_longest_run() -> None:
    mask = np.zeros((300, 400), bool)
    mask[200:, 7:] = True
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), 300, 400), mask)


def test_brush_run_lengths_as_label_studio_writes_them() -> None:
    mask = np.zeros((3, 30), bool)
    mask[0, [0, 4, 5, 6]] = mask[1] = True
    # label_studio_sdk 2.1.2: converter.brush.mask2rle(mask * 255)
    known = [0, 0, 1, 104, 57, 27, 252, 127, 246, 192, 45, 255, 229, 176, 12, 239, 255, 157, 192, 0]
    assert encode_brush(mask) == known


def test_brush_run_lengths_with_a_value_for_each() -> None:
    # two pixels: a run of five 0, then 255, 7, 255 one by one, in words of 8 bits
    bits = f"{8:032b}{7:05b}" + f"{2:04b}{3:04b}{7:04b}{15:04b}"
    bits += f"100{4:03b}{0:08b}" + f"000{2:03b}{255:08b}{7:08b}{255:08b}"
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    assert decode_brush(rle, 1, 2).tolist() == [[False, True]]


@given(data=st.lists(st.integers(0, 255), max_size=60))
def test_brush_run_lengths_that_are_none_are_refused(data: list[int]) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        decode_brush(data, 5, 7)


def test_colours_tell_the_classes_apart() -> None:
    colors = distinct_colors(ODD)
    assert len({*colors, (0, 0, 0)}) == 5
    assert colors[1] == ODD.classes[1].color
    assert colors[3] == ODD.classes[3].color


def test_configurations_name_all_classes_with_their_colours(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ElementTree

    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in distinct_colors(ODD)]
    names = [one.name for one in ODD.classes]
    write_export(tmp_path / "ls", "label-studio", some_labels())
    tree = ElementTree.parse(tmp_path / "ls" / "export" / "labeling_config.xml")
    labels = list(tree.iter("Label"))
    assert [label.get("value") for label in labels] == names
    assert [label.get("background") for label in labels] == colors
    write_export(tmp_path / "cvat", "cvat", some_labels())
    content = json.loads((tmp_path / "cvat" / "export" / "labels.json").read_text())
    assert [(it["name"], it["color"]) for it in content] == list(zip(names, colors, strict=True))


def test_cvat_is_told_every_colour_of_the_masks_that_of_void_too(tmp_path: Path) -> None:
    """datumaro, which reads them there, refuses a colour that labelmap.txt has not."""
    for number, name in enumerate(("yard", "background")):
        label_set = LabelSet("one", (LabelClass(0, name, (9, 9, 9)),))
        root = tmp_path / str(number)
        archive = write_export(root, "cvat", {"a_1": np.array([[0, 255]], np.uint8)}, label_set)
        with zipfile.ZipFile(archive) as opened:
            lines = opened.read("labelmap.txt").decode().splitlines()
            mask = cv2.imdecode(
                np.frombuffer(opened.read("SegmentationClass/a_1.png"), np.uint8), 1
            )
        names, colors = zip(*(line.split(":")[:2] for line in lines), strict=True)
        assert len({*names}) == 2
        assert {",".join(map(str, pixel)) for pixel in mask[0, :, ::-1]} == {*colors}


def test_label_studio_finds_the_images_below_its_document_root(tmp_path: Path) -> None:
    write_export(tmp_path, "label-studio", {"a 1 & 2": np.zeros(SHAPE, np.uint8)})
    (task,) = json.loads((tmp_path / "export" / "tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=images/a%201%20%26%202.png"
    bring_in_one = READERS["label-studio"](tmp_path / "export", ClassNames(ODD))
    assert [one.name for one in bring_in_one] == ["a 1 & 2"]


def test_of_several_annotations_the_last_counts_that_was_not_cancelled(tmp_path: Path) -> None:
    labels = some_labels()
    source = write_export(tmp_path, "label-studio", labels)
    tasks = json.loads((source / "tasks.json").read_text())
    (kept,) = tasks[0]["annotations"]
    tasks[0]["annotations"] = [{"result": []}, kept, {"result": [], "was_cancelled": True}]
    tasks[0]["data"]["image"] = f"/data/upload/1/0123abcd-{NAMES[0]}.png"
    tasks[1]["annotations"] = []
    (source / "tasks.json").write_text(json.dumps(tasks))
    done = bring_in(tmp_path, "label-studio", source)
    assert done.unlabelled == (NAMES[1],)
    np.testing.assert_array_equal(read_back(tmp_path / "data")[NAMES[0]], labels[NAMES[0]])


@pytest.mark.parametrize("format_name", READERS)
def test_unknown_labels_are_named_with_the_file(tmp_path: Path, format_name: str) -> None:
    source = write_export(tmp_path, format_name, some_labels())
    fewer = LabelSet("fewer", ODD.classes[:3])
    with pytest.raises(DataError) as error:
        bring_in(tmp_path, format_name, source, fewer)
    said = str(error.value)
    assert "fewer" in said
    assert "3" in said if format_name == "png" else "Ampel-Mast" in said
    files = {path.name for path in source.parent.rglob("*")} | {"labelmap.txt"}
    assert any(name in said for name in files)
    assert not (tmp_path / "data").exists()
    assert not list(tmp_path.glob(".data*"))


@pytest.mark.parametrize("format_name", READERS)
def test_labels_of_another_size_are_named_with_their_image(
    tmp_path: Path, format_name: str
) -> None:
    source = write_export(tmp_path, format_name, some_labels())
    for path in [*tmp_path.rglob(f"{NAMES[0]}*.png"), *tmp_path.rglob(f"{NAMES[0]}*.jpg")]:
        if "_mask" not in path.name and path.parent.name not in ("labels", "panoptic"):
            cv2.imwrite(str(path), np.zeros((5, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"9 x 5") as error:
        bring_in(tmp_path, format_name, source)
    assert f"{SHAPE[1]} x {SHAPE[0]}" in str(error.value)
    assert not (tmp_path / "data").exists()


def test_images_may_lie_beside_plain_label_images(tmp_path: Path) -> None:
    labels = some_labels()
    source = write_export(tmp_path, "png", labels)
    (tmp_path / "images").rename(source / "images")
    capitals = source / "labels" / f"{NAMES[0]}.png"
    capitals.rename(capitals.with_suffix(".PNG"))
    import_labels(source, "png", ODD, None, tmp_path / "data")
    found = read_back(tmp_path / "data")
    assert found.keys() == labels.keys()
    assert all(np.array_equal(found[name], labels[name]) for name in labels)


@pytest.mark.parametrize("format_name", ["cvat", "label-studio", "coco-panoptic", "png"])
def test_missing_images_are_named(tmp_path: Path, format_name: str) -> None:
    source = write_export(tmp_path, format_name, some_labels())
    (tmp_path / "images" / f"{NAMES[2]}.png").unlink()
    with pytest.raises(DataError, match=f"no image {NAMES[2]}"):
        bring_in(tmp_path, format_name, source)


@pytest.mark.parametrize("format_name", READERS)
def test_images_may_have_names_as_macos_writes_them(tmp_path: Path, format_name: str) -> None:
    names = ("Köln_1", "Köln_2", "Lübeck_1")
    source = write_export(
        tmp_path, format_name, dict(zip(names, some_labels().values(), strict=False))
    )
    for image in (tmp_path / "images").iterdir():
        image.rename(image.with_name(unicodedata.normalize("NFD", image.name)))
    entries = [
        {"file": unicodedata.normalize("NFD", f"{name}.png"), "drive": "a bag", "stamp": 1}
        for name in names
    ]
    (tmp_path / "pick.json").write_text(json.dumps({"frames": entries}))
    bring_in(tmp_path, format_name, source)
    assert read_back(tmp_path / "data").keys() == set(names)
    said = json.loads((tmp_path / "data" / "import.json").read_text())["frames"]
    assert [frame["drive"] for frame in said.values()] == ["a bag"] * 3


@pytest.mark.parametrize("packed", [False, True])
def test_every_broken_label_is_named(tmp_path: Path, packed: bool) -> None:
    source = write_export(tmp_path, "png", some_labels())
    for name in NAMES[:2]:
        (source / "labels" / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", source))
    with pytest.raises(DataError) as error:
        bring_in(tmp_path, "png", source)
    assert all(f"{source}/labels/{name}.png" in str(error.value) for name in NAMES[:2])


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    made = {}
    for format_name in READERS:
        root = tmp_path_factory.mktemp(format_name)
        made[format_name] = (root, write_export(root, format_name, some_labels()))
    return made


@pytest.mark.parametrize("format_name", READERS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_exports_are_refused_by_name(
    exports: dict[str, tuple[Path, Path]], format_name: str, data: st.DataObject
) -> None:
    root, source = exports[format_name]
    files = sorted(p for p in ([source] if source.is_file() else source.rglob("*")) if p.is_file())
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(0, 30))
    put = data.draw(st.binary(max_size=8) | st.sampled_from([b"null", b"-1", b"[]", b'"', b"9e9"]))
    cut = data.draw(st.booleans())
    try:
        file.write_bytes(content[:place] + put + (b"" if cut else content[place + length :]))
        said = ""
        try:
            bring_in(root, format_name, source)
            shutil.rmtree(root / "data")
        except DataError as error:
            said = str(error)
        assert not said or str(root) in said
        assert not (root / "data").exists()
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("format_name", READERS)
@pytest.mark.parametrize("made", ["nothing", "an empty folder", "a file that is none", "a bad zip"])
def test_what_is_no_export_is_refused(tmp_path: Path, format_name: str, made: str) -> None:
    source = tmp_path / ("export.zip" if made == "a bad zip" else "export")
    if made == "an empty folder":
        source.mkdir()
    elif made != "nothing":
        source.write_bytes(b"PK\x03\x04 nothing of that")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="export"):
        bring_in(tmp_path, format_name, source)


def test_an_archive_gives_what_its_folder_gives(tmp_path: Path) -> None:
    source = write_export(tmp_path, "supervisely", some_labels())
    for kind in ("zip", "tar", "gztar"):
        archive = shutil.make_archive(str(tmp_path / kind), kind, source)
        bring_in(tmp_path, "supervisely", Path(archive))
        assert read_back(tmp_path / "data").keys() == set(NAMES)
        shutil.rmtree(tmp_path / "data")


def test_what_is_there_already_is_not_touched(tmp_path: Path) -> None:
    source = write_export(tmp_path, "png", some_labels())
    bring_in(tmp_path, "png", source)
    with pytest.raises(DataError, match="there already"):
        bring_in(tmp_path, "png", source)
    assert read_back(tmp_path / "data").keys() == set(NAMES)


def test_what_pick_says_of_the_frames_goes_on(tmp_path: Path) -> None:
    source = write_export(tmp_path, "png", some_labels())
    entries = [
        {"file": f"{name}.png", "drive": f"bag{n // 2}", "stamp": n, "topic": "/front"}
        for n, name in enumerate(NAMES)
    ]
    (tmp_path / "pick.json").write_text(json.dumps({"frames": entries}))
    done = import_labels(source, "png", ODD, tmp_path, tmp_path / "data", ["bag1"])
    assert done.split.val == NAMES[2:]
    said = json.loads((tmp_path / "data" / "import.json").read_text())["frames"]
    assert {**entries[3], "split": "val"} == said[NAMES[3]]
    del entries[0]["drive"]
    (tmp_path / "pick.json").write_text(json.dumps({"frames": entries}))
    with pytest.raises(DataError, match=r"pick\.json"):
        import_labels(source, "png", ODD, tmp_path, tmp_path / "other")


def test_what_is_left_out_of_a_single_drive_is_not_written(tmp_path: Path) -> None:
    labels = dict(zip(("a_1", "a_2", "a_3"), some_labels().values(), strict=False))
    done = bring_in(tmp_path, "png", write_export(tmp_path, "png", labels))
    assert (done.split.train, done.split.left_out, done.split.val) == (("a_1",), ("a_2",), ("a_3",))
    assert read_back(tmp_path / "data").keys() == {"a_1", "a_3"}
    said = json.loads((tmp_path / "data" / "import.json").read_text())
    assert said["left_out"] == ["a_2"]
    assert said["frames"].keys() == {"a_1", "a_3"}


def test_cvat_has_no_room_for_some_names(tmp_path: Path) -> None:
    bad = LabelSet("bad", (LabelClass(0, "sign: stop", (1, 2, 3)),))
    with pytest.raises(ValueError, match="sign: stop"):
        write_export(tmp_path, "cvat", {"a_1": np.zeros(SHAPE, np.uint8)}, bad)


def run(*arguments: object) -> "tuple[int, str]":
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize("format_name", WRITERS)
def test_the_commands_there_and_back(tmp_path: Path, format_name: str) -> None:
    labels = some_labels()
    write_export(tmp_path, "png", labels)
    (tmp_path / "export" / "labels").rename(tmp_path / "prelabels")
    save_label_set(ODD, tmp_path / "label_set.yaml")
    out = tmp_path / "out"
    code, said = run("export", tmp_path, "--format", format_name, "--output", out)
    assert code == 0, said
    source = {"cvat": out / "annotations.zip", "coco-panoptic": out / "panoptic.json"}
    if format_name == "label-studio":
        (out / "tasks.json").write_text(
            (out / "tasks.json").read_text().replace('"predictions"', '"annotations"')
        )
    code, said = run(
        "import", source.get(format_name, out), "--format", format_name, "--images", tmp_path,
        "--label-set", out / "label_set.yaml", "--output", tmp_path / "data", "--val", "b",
    )  # fmt: skip
    assert code == 0, said
    assert "3 frames for training and 1 for validation (b)" in said
    found = read_back(tmp_path / "data")
    assert all((found[name] == label).all() for name, label in labels.items())
    code, said = run("check", "--data", "folder", "--root", tmp_path / "data")
    assert code == 0, said


def test_the_commands_say_what_they_want(tmp_path: Path) -> None:
    save_label_set(ODD, tmp_path / "label_set.yaml")
    code, said = run("export", tmp_path, "--format", "labelme", "--output", tmp_path / "out")
    assert code == 1
    assert "cvat, label-studio, coco-panoptic, png" in said
    code, said = run("export", tmp_path, "--format", "png", "--output", tmp_path / "out")
    assert code == 1
    assert "images" in said


def test_index_files_show_the_colours(tmp_path: Path) -> None:
    source = write_export(tmp_path, "png", {"a_1": np.full(SHAPE, 3, np.uint8)})
    with Image.open(source / "labels" / "a_1.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((0, 0)) == ODD.classes[3].color
