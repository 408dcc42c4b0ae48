"""`camss-ros study own-data` and `study drift`, with small models and data."""

import json
import shutil

import cv2
import numpy as np
import pytest
from labelled_pictures import write_pictures
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets.datasets import open_data
from camss_ros.images.label_sets import load_label_set, save_label_set
from camss_ros.inference.drift import LEAST_FRAMES
from camss_ros.lab.own_data_study import frames_of_drive


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Frames of two drives, whose brightness tells the class."""
    root = tmp_path_factory.mktemp("camvid")
    rng = np.random.default_rng(0)
    for split, count in (("train", LEAST_FRAMES), ("val", 4)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            rows = rng.choice(np.array([0, 5, 10], np.uint8), (4, 1))
            label = np.repeat(np.repeat(rows, 72, 1), 16, 0)
            image = np.repeat((label * 23)[..., None], 3, 2)
            name = f"{'dusk' if number % 8 else 'day'}_{split}_{number:02d}.png"
            cv2.imwrite(str(root / split / "images" / name), image)
            cv2.imwrite(str(root / split / "labels" / name), label)
    save_label_set(load_label_set("camvid11"), root / "label_set.yaml")
    return root


def run(*arguments):
    return CliRunner().invoke(app, ["study", *map(str, arguments)])


def test_picked_frames_are_held_against_those_at_random(small_model, root, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    page = tmp_path / "own_data.md"
    short = ("loop.steps=1", "loop.batch=2", "loop.precision=fp32")
    arguments = ("own-data", "--data", "camvid", "--root", root, "--drive", "dusk")
    arguments += ("--output", page, "--model", small_model, "--count", 5, "--seeds", 1)
    arguments += tuple(part for each in short for part in ("--set", each))
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(page.with_suffix(".json").read_text())["rows"]
    assert list(rows) == ["none 0", "random 0", "picked 0"]
    assert all(0 <= row["miou"] <= 1 for row in rows.values())
    text = page.read_text()
    assert "Picking against random frames" in text
    assert "its first 11 frames" in text
    runs = tmp_path / "own_data_runs"
    for arm in ("random", "picked"):
        images = sorted(path.name for path in (runs / f"{arm}_0_data").glob("*/images/*.png"))
        assert len(images) == 5
    done = page.stat().st_mtime_ns
    content = json.loads(page.with_suffix(".json").read_text())
    for row in content["rows"].values():
        row["per_class_iou"] = dict.fromkeys(row["per_class_iou"], 0.5)
    page.with_suffix(".json").write_text(json.dumps(content))
    again = run(*arguments)
    assert again.exit_code == 0
    assert "picked 0" not in again.output
    assert page.stat().st_mtime_ns > done
    absent = "building, pole, road, pavement, sign, fence, car, pedestrian"
    assert f"Not in the scored frames: {absent}. Such" in " ".join(page.read_text().split())
    page.with_suffix(".json").unlink()
    rest = run(*arguments)
    assert rest.exit_code == 1
    assert f"'{runs}' is of a run without" in rest.output
    few = run(*arguments[:-4], "--count", 11, "--output", tmp_path / "other.md")
    assert few.exit_code == 1
    assert "11 are no choice" in few.output


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("loop.stps=1", "loop has unknown entries ['stps']"),
        ("loop.batch=two", "loop.batch must be of type int"),
        ("masks.loop.stps=1", "loop has unknown entries ['stps']"),
        ("loop", "--set loop: expected dotted.path=value"),
    ],
)
def test_a_wrong_entry_is_told_before_anything(small_model, root, tmp_path, entry, told):
    page = tmp_path / "own_data.md"
    refused = run(
        "own-data", "--data", "camvid", "--root", root, "--drive", "dusk", "--output", page,
        "--model", small_model, "--count", 5, "--seeds", 1, "--set", entry,
    )  # fmt: skip
    assert refused.exit_code == 1
    assert told in " ".join(refused.output.split())
    assert not list(tmp_path.iterdir())


def test_the_frames_of_a_drive_are_in_its_order(tmp_path):
    names = [f"drive_{number}" for number in range(16)]
    write_pictures(tmp_path / "a", (32, 32), [*names[::2], "other_3"])
    write_pictures(tmp_path / "b", (32, 32), names[1::2])
    splits = [open_data("camvid", tmp_path / part, "val") for part in "ab"]
    frames = frames_of_drive(splits, "drive")
    assert [frames[index][2] for index in range(len(frames))] == names


def test_as_many_frames_are_picked_as_drawn_at_random(small_model, tmp_path):
    for kind, shape in (("images", (64, 72, 3)), ("labels", (64, 72))):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for number in range(20):
            path = tmp_path / "train" / kind / f"standing_{number:02d}.png"
            cv2.imwrite(str(path), np.zeros(shape, np.uint8))
    refused = run(
        "own-data", "--data", "camvid", "--root", tmp_path, "--drive", "standing", "--count", 5,
        "--model", small_model, "--output", tmp_path / "own_data.md",
    )  # fmt: skip
    assert refused.exit_code == 1
    assert "1 of the 11 frames that may be labelled can be picked" in refused.output
    assert not (tmp_path / "own_data_runs").exists()


def test_the_drive_may_be_of_any_layout(small_model, tmp_path):
    arguments = ("own-data", "--data", "camvid32", "--root", tmp_path, "--drive", "0001TP")
    arguments += ("--output", tmp_path / "page.md", "--model", small_model, "--count", 100)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "no labelled split of camvid32" in result.output
    color = load_label_set("camvid32").classes[0].color
    for folder, end in (("701_StillsRaw_full", ""), ("LabeledApproved_full", "_L")):
        (tmp_path / folder).mkdir()
        for number in range(15):
            file = tmp_path / folder / f"0001TP_{8510 + number:06d}{end}.png"
            cv2.imwrite(str(file), np.full((8, 8, 3), color[::-1], np.uint8))
    result = run(*arguments)
    assert result.exit_code == 1
    assert "100 are no choice" in result.output


def test_drift_of_frames_like_those_of_the_training_and_of_others(small_model, root, tmp_path):
    page = tmp_path / "drift.md"
    other = f"folder:{root}"
    darker = tmp_path / root.name  # a folder of the same name
    shutil.copytree(root, darker)
    for path in (darker / "val" / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)) // 4)
    arguments = ("drift", "--data", "camvid", "--root", root, "--output", page)
    arguments += ("--model", small_model)
    result = run(*arguments, "--every", 2, "--other", other, "--other", f"folder:{darker}")
    assert result.exit_code == 0, result.output
    rows = json.loads(page.with_suffix(".json").read_text())["rows"]
    names = "camvid val", f"{root.name} val-1", f"{root.name} val-2"
    first, same, dark = (rows[name]["median_distance"] for name in names)
    assert first == same != dark
    assert sum("night" in name for name in rows) == 5
    assert sum("fog" in name for name in rows) == 5
    assert all(row["frames"] == 2 for row in rows.values())
    assert "| camvid val, fog: 25 m |" in page.read_text()
    assert run(*arguments, "--other", "camvid").exit_code == 1


def test_data_whose_classes_the_model_does_not_know_is_refused_first(small_model, root, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(root, other)
    save_label_set(load_label_set("idd_lite"), other / "label_set.yaml")
    page = tmp_path / "drift.md"
    result = run("drift", "--data", "camvid", "--root", root, "--model", small_model,
                 "--output", page, "--other", f"folder:{other}")  # fmt: skip
    assert result.exit_code == 1
    assert "the model does not know the classes of idd_lite" in result.output
    assert not page.with_suffix(".json").exists()
