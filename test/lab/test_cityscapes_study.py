"""`study cityscapes` on small models and data: the page, going on after a stop, bad options."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from labelled_pictures import write_pictures
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab import cityscapes_study
from camss_ros.lab.corruptions import CORRUPTIONS, PAPER_HEIGHT, corrupt

CITYSCAPES = load_label_set("cityscapes19")
LABEL_SETS = Path(__file__).parents[2] / "config" / "label_sets"


@pytest.fixture
def arguments(tmp_path):
    models = [
        save_small_model(tmp_path / name, seed=seed, label_set=CITYSCAPES.classes)
        for seed, name in enumerate(("m", "t"))
    ]
    write_pictures(tmp_path / "towns", (40, 40), classes=19)
    shutil.copy(LABEL_SETS / "cityscapes19.yaml", tmp_path / "towns" / "label_set.yaml")
    write_pictures(tmp_path / "camvid", (36, 48))
    return [
        "study", "cityscapes", "--data", "folder", "--root", tmp_path / "towns",
        "--network-size", "64x32", "--other", f"camvid:{tmp_path / 'camvid'}:val:48x32",
        "--model", models[0], "--twin", models[1], "--output", tmp_path / "out",
    ]  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_page_and_going_on(arguments, tmp_path, monkeypatch):
    segment, frames = Segmenter.segment, []

    def stop(self, image):
        frames.append(image.shape)
        if len(frames) == 20:
            raise KeyboardInterrupt
        return segment(self, image)

    monkeypatch.setattr(Segmenter, "segment", stop)
    assert run(*arguments).exit_code != 0
    kept = json.loads((tmp_path / "out" / "cityscapes.json").read_text())
    assert not kept["complete"]
    assert "towns val: 4 steps" in kept["rows"]
    assert set(frames) == {(32, 64, 3), (32, 48, 3)}  # stretched to the network's size

    before = len(frames)

    def count(self, image):
        frames.append(image.shape)
        return segment(self, image)

    monkeypatch.setattr(Segmenter, "segment", count)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    conditions = 1 + sum(len(c.values) for c in CORRUPTIONS.values() if c.group != "imagenet_c")
    whole = 6 + 3 + 3 * conditions
    assert (
        whole - before <= len(frames) - before <= whole - before + 1
    )  # at most the stopped one again

    rows = json.loads((tmp_path / "out" / "cityscapes.json").read_text())["rows"]
    assert rows.keys() == {
        *(f"towns val: {name}" for name in
          ("1 step", "2 steps", "4 steps", "noise start, 4 steps",
           "noise start, 4 steps, mean of 8", "twin")),
        *(f"camvid val: {name}" for name in ("1 step", "noise start, 4 steps, mean of 8", "twin")),
    }  # fmt: skip
    page = (tmp_path / "out" / "cityscapes.md").read_text()
    assert f"| 1 step | {rows['towns val: 1 step']['miou']:.3f} |" in page
    assert f"| {rows['camvid val: twin']['miou']:.3f} |" in page
    assert "| salt_and_pepper, 50 % of pixels | 76.9 |" in page  # 54.0 of 70.2 in the paper
    assert "| motion_blur_scaled, 21 px of 768 | 94.7 |" in page
    assert "| motion_blur, 21 px | - |" in page
    assert "| gaussian_blur_scaled, sigma 5 px of 768 | 92.5 |" in page  # 64.9
    assert "| gaussian_blur_scaled, sigma 8 px of 768 | - |" in page
    assert "| hue, -0.1 turn | 89.9 |" in page  # 63.1
    assert (tmp_path / "out" / "cityscapes.png").exists()
    assert "Not in these frames" not in page

    made = tmp_path / "out" / "cityscapes.json"
    results = json.loads(made.read_text())
    results["rows"]["towns val: 1 step"]["per_class_recall"]["train"] = None
    made.write_text(json.dumps(results))
    assert run(*arguments).exit_code == 0
    assert "Not in these frames: train." in (tmp_path / "out" / "cityscapes.md").read_text()

    other = run(*arguments, "--seed", 1)
    assert other.exit_code == 1
    assert f"'{made}' holds the results of other settings (seed 0 there, 1 now)" in other.output
    made.unlink()
    rest = run(*arguments, "--seed", 1)
    assert rest.exit_code == 1
    assert f"'{made.with_name('cityscapes_scores')}' is of a run without" in rest.output


def test_scaled_lengths_are_those_of_the_papers_frames():
    image = np.random.default_rng(0).integers(0, 256, (PAPER_HEIGHT // 2, 40, 3), np.uint8)
    half = corrupt(image, CORRUPTIONS["gaussian_blur_scaled"], 2, "a")  # sigma 2 of 768
    assert np.array_equal(half, corrupt(image, CORRUPTIONS["gaussian_blur"], 1, "a"))  # sigma 1


def test_data_of_one_name_and_one_at_two_sizes_are_told_apart(arguments, tmp_path, monkeypatch):
    write_pictures(tmp_path / "again" / "towns", (40, 40), classes=2)
    shutil.copy(LABEL_SETS / "cityscapes19.yaml", tmp_path / "again" / "towns" / "label_set.yaml")
    monkeypatch.setattr(cityscapes_study, "_GROUPS", ("weather",))
    monkeypatch.setattr(cityscapes_study, "write_cityscapes_page", lambda *_: [])
    others = (f"folder:{tmp_path / it}:val:{size}"
              for it, size in (("again/towns", "64x32"), ("towns", "32x32")))  # fmt: skip
    result = run(*arguments, *(word for other in others for word in ("--other", other)))
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "cityscapes.json").read_text())
    names = [each["name"] for each in content["settings"]["data"]]
    assert names == ["towns val-1", "camvid val", "towns val-2", "towns val-3"]
    scores = [content["rows"][f"{name}: 1 step"]["per_class_iou"] for name in names[::2]]
    assert scores[0] != scores[1]
    assert "towns val-3: twin" in content["rows"]


def test_one_default_size_is_told():
    told = run("study", "cityscapes", "--help").output
    assert "[default: 512x256]" in told
    assert "the model's own" not in told


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("camvid", "WIDTHxHEIGHT"),
        ("camvid:/nowhere:val:48x32", "nowhere"),
        ("camvid:48x32", "expected DATA:ROOT:SPLIT:WIDTHxHEIGHT"),
        ("camvid:{root}:val:50x32", "network size 50 x 32: expected multiples of 16"),
    ],
)
def test_bad_data_are_named_before_the_work(arguments, tmp_path, other, message):
    result = run(*arguments, "--other", other.format(root=tmp_path / "camvid"))
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()
