"""`camss-ros data show` and `check`."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets import photometry
from camss_ros.resources import config_file
from camss_ros.training.config import SegmenterConfig
from camss_ros.training.config_files import load_config


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    """Two splits of three frames of CamVid: 3/4 road and 1/4 sky, one row in nine void."""
    label = np.full((9, 8), 3, np.uint8)
    label[:, :2] = 0
    label[0] = 11
    for split in ("train", "val"):
        for name in "abc":
            save(tmp_path / split / f"images/{name}.png", np.full((9, 8, 3), 90, np.uint8))
            save(tmp_path / split / f"labels/{name}.png", label)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def row(output, name):
    line = next(line for line in output.splitlines() if f" {name} " in line)
    return [float(word) for word in line.replace("│", " ").split() if word[0].isdigit()]


def test_check_counts_frames_and_class_shares(root):
    result = run("check", "--data", "camvid", "--root", root)
    assert result.exit_code == 0, result.output
    assert "train: 3 frames of 8 x 9" in result.output
    assert "val: 3 frames of 8 x 9" in result.output
    assert row(result.output, "road") == [75, 75]
    assert row(result.output, "sky") == [25, 25]
    assert row(result.output, "car") == [0, 0]
    assert row(result.output, "(of all)") == pytest.approx([100 / 9] * 2, abs=1e-3)
    assert "no problems" in result.output


def test_check_names_everything_that_is_wrong(root):
    (root / "val/images/a.png").unlink()
    (root / "val/labels/b.png").unlink()
    save(root / "val/labels/c.png", np.full((9, 8), 77, np.uint8))
    (root / "train/images/a.png").write_bytes(b"no picture")
    save(root / "train/labels/b.png", np.zeros((9, 9), np.uint8))
    result = run("check", "--data", "camvid", "--root", root)
    assert result.exit_code == 1
    for message in (
        f"no image for {root}/val/labels/a.png",
        f"no label for {root}/val/images/b.png",
        f"{root}/val/labels/c.png has the values 77",
        f"{root}/train/images/a.png can't be read",
        f"{root}/train/images/b.png is 8 x 9, {root}/train/labels/b.png is 9 x 9",
        f"5 problems in {root}",
    ):
        assert message in result.output
    result = run("check", "--data", "camvid", "--root", root, "--split", "train")
    assert f"2 problems in {root}" in result.output


def test_check_shows_no_shares_where_there_are_none(root):
    for path in (root / "train/labels").iterdir():
        save(path, np.full((9, 8), 11, np.uint8))
    for path in (root / "val/labels").iterdir():
        save(path, np.full((9, 8), 77, np.uint8))
    result = run("check", "--data", "camvid", "--root", root)
    assert row(result.output, "(of all)") == [100]
    assert "nan" not in result.output
    result = run("check", "--data", "camvid", "--root", root, "--split", "val")
    assert "share of" not in result.output
    assert "has the values 77" in result.output


def test_unusable_arguments_are_named(root, tmp_path):
    for command in (["check"], ["show", "--output", tmp_path / "sheet.png"]):
        for arguments, message in (
            (("--data", "mars", "--root", root), "'mars': expected one of camvid"),
            (("--data", "camvid", "--root", root / "no"), f"no data folder {root}/no"),
            (("--data", "camvid", "--root", root, "--split", "tset"), "no split 'tset'"),
            (("--data", "cityscapes", "--root", root), "leftImg8bit/{split}"),
            (("--data", "folder", "--root", root), f"no {root}/label_set.yaml: "),
            (("--data", "camvid", "--root", root, "--label-set", "camvid32"), "no mapping onto"),
        ):
            result = run(*command, *arguments)
            assert result.exit_code == 1
            assert message in result.output
    result = run("show", "--data", "camvid", "--root", root, "--output", root / "no" / "sheet.png")
    assert result.exit_code == 1
    assert f"can't write {root}/no/sheet.png" in result.output


def test_show_draws_frames_beside_their_labels(root):
    sheet = root / "sheet.png"
    result = run("show", "--data", "camvid", "--root", root, "--output", sheet, "--frames", 2)
    assert result.exit_code == 0, result.output
    assert "val: 3 frames" in result.output
    with Image.open(sheet) as image:
        pixels = np.asarray(image)
    colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    drawn = {
        tuple(map(int, color)): int(count) for color, count in zip(colors, counts, strict=True)
    }
    tile = 400 * 450
    assert drawn[90, 90, 90] == pytest.approx(4 * tile, rel=0.001)  # two frames of two splits
    assert drawn[128, 64, 128] == pytest.approx(4 * tile * 6 / 9, rel=0.02)  # their road


def test_show_draws_augmented_pairs_beside_them(root, monkeypatch):
    sheets = [root / f"{name}.png" for name in ("plain", "augmented", "again", "reseeded")]
    more = [(), ("--augment", "paper"), ("--augment", "paper"), ("--augment", "paper", "--seed", 1)]
    arguments = ("--data", "camvid", "--root", root, "--split", "val")
    for sheet, extra in zip(sheets, more, strict=True):
        result = run("show", *arguments, "--output", sheet, *extra)
        assert result.exit_code == 0, result.output
    plain, augmented, again, reseeded = (np.asarray(Image.open(sheet)) for sheet in sheets)
    assert augmented.shape[0] > plain.shape[0]
    assert np.array_equal(augmented, again)
    assert not np.array_equal(augmented, reseeded)
    seen = []
    monkeypatch.setattr(photometry, "augment", lambda *given: (seen.append(given[2]), given)[1])
    run("show", *arguments, "--output", sheets[0], "--augment", "camss-tiny")
    recipe = load_config(SegmenterConfig, config_file("train/camss_tiny_street.yaml"))
    assert seen[0] == recipe.augmentation  # today's, of the bundled model
    result = run("show", *arguments, "--output", sheets[0], "--augment", "none")
    assert result.exit_code == 1
    assert "'none': expected one of paper, camss-tiny" in result.output


def test_labels_may_be_shown_in_another_label_set(root):
    result = run("check", "--data", "camvid", "--root", root, "--label-set", "cityscapes19")
    assert result.exit_code == 0, result.output
    assert "sidewalk" in result.output
    assert row(result.output, "road") == [75, 75]
