"""Robustness: scores under corruptions, resumed where a run stopped, summed up and drawn."""

import json

import cv2
import numpy as np
import pytest
from labelled_pictures import write_pictures
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_sets import LabelSet, load_label_set, save_label_set
from camss_ros.inference.segmenter import Segmentation
from camss_ros.lab.conditions import Condition, data_conditions
from camss_ros.lab.corruptions import CORRUPTIONS
from camss_ros.lab.robustness import score_conditions, summarize
from camss_ros.lab.robustness_page import CLEAN_AP, CURVES
from camss_ros.model.checkpoint import find_config

CAMVID = load_label_set("camvid11")
NAN = float("nan")


class Frames:
    """Frames whose brightness is the label times 20."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        label = np.random.default_rng(index).integers(0, 3, (36, 36), np.uint8)
        return np.repeat((label * 100)[..., None], 3, 2), label, f"frame{index}"


class Reader:
    """Reads the label from the brightness; `seen` counts frames."""

    classes, model_name = CAMVID.classes, "small"

    def __init__(self):
        self.seen = 0

    def segment(self, image):
        self.seen += 1
        labels = np.round(image[..., 0] / 100).astype(np.uint8)
        return Segmentation(labels, labels, {"total": 0.0}, 1)


def test_scores_are_kept_and_resumed(tmp_path):
    conditions = [(CAMVID, data_conditions(Frames(), ("paper",), 0))]
    count = len(conditions[0][1])
    assert count == 1 + sum(len(c.values) for c in CORRUPTIONS.values() if c.group == "paper")
    stopping = Reader()
    segment = stopping.segment

    def interrupt(image):
        if stopping.seen == 4 * 7 + 2:
            raise KeyboardInterrupt
        return segment(image)

    stopping.segment = interrupt
    with pytest.raises(KeyboardInterrupt):
        score_conditions(lambda: stopping, conditions, tmp_path / "resumed")
    going_on, whole = Reader(), Reader()
    resumed = score_conditions(lambda: going_on, conditions, tmp_path / "resumed")
    assert going_on.seen == 4 * (count - 7)
    assert resumed == score_conditions(lambda: whole, conditions, tmp_path / "whole")
    assert resumed["data-clean-0"]["miou"] == 1.0
    noisy = [resumed[f"paper-gaussian_noise-{level}"]["miou"] for level in (1, 6)]
    assert noisy[0] == 1.0 > noisy[1]
    # Everything is there: no model is opened.
    assert score_conditions(pytest.fail, conditions, tmp_path / "whole") == resumed


def test_the_summary_against_a_hand_worked_case():
    def row(group, corruption, level, score):
        condition = Condition(group, corruption, level, float(level), f"set {level}", Frames())
        return condition.key, {**vars(condition), "miou": score}

    rows = dict([
        row("data", "clean", 0, 0.8),
        row("paper", "fog", 1, 0.6), row("paper", "fog", 2, 0.2),
        row("paper", "hue", 1, 0.8),
        row("viewpoint", "clean", 0, 0.5), row("viewpoint", "roll", 1, None),
        row("viewpoint", "roll", 2, 0.5),
    ])  # fmt: skip
    groups = summarize(rows, "miou")["groups"]
    paper = groups["paper"]
    assert paper["P"] == 0.8
    assert paper["corruptions"]["fog"]["mean"] == pytest.approx(0.4)
    assert paper["corruptions"]["fog"]["retention"] == pytest.approx(0.5)
    assert [it["retention"] for it in paper["corruptions"]["fog"]["levels"]] == pytest.approx(
        [0.75, 0.25]
    )
    # The mean over corruptions, each of equal weight, however many levels it has.
    assert paper["mPC"] == pytest.approx(0.6)
    assert paper["rPC"] == pytest.approx(0.75)
    # Undefined counts as nothing; viewpoints refer to their own clean frames.
    assert groups["viewpoint"]["rPC"] == pytest.approx(0.5)


def test_the_official_settings_are_among_ours():
    for name, points in CURVES.items():
        assert points.keys() <= set(CORRUPTIONS[name].values)
        assert all(ap < CLEAN_AP for ap in points.values())


def the_report_shows_the_curves(folder, models, summary):
    def report(model, *arguments):
        command = ("evaluate", "--data", "camvid", "--root", folder, "--steps", 1, "--model", model,
                   "--robustness", folder / "out" / "robustness.json", *arguments)  # fmt: skip
        return CliRunner().invoke(app, list(map(str, command)))

    page = folder / "report.html"
    result = report(models[0], "--report", page)
    assert result.exit_code == 0, result.output
    numbers = json.loads((folder / "report.json").read_text())["robustness"]
    of_twin = summary["summaries"]["twin"]["miou"]["groups"]["viewpoint"]
    assert numbers["groups"]["viewpoint"]["twin"] == of_twin
    text = page.read_text()
    assert "Camera mounting (synthetic street)" in text
    for name in (*(n for n, c in CORRUPTIONS.items() if c.group == "paper"), "pitch", "roll"):
        assert f">{name}</text>" in text
    assert f"<td>{100 * of_twin['mPC']:.1f}</td>" in text
    other = report(models[1], "--report", page)
    assert other.exit_code == 1
    assert "other weights" in other.output
    assert "name its file by --report" in report(models[0]).output


def run(*arguments):
    return CliRunner().invoke(app, ["robustness", *map(str, arguments)])


def test_the_command_writes_table_plots_and_json_and_goes_on(tmp_path):
    write_pictures(tmp_path, (40, 48))
    models = [
        save_small_model(tmp_path / name, seed=seed, label_set=CAMVID.classes)
        for seed, name in enumerate(("m", "t"))
    ]
    arguments = (
        "--data", "camvid", "--root", tmp_path, "--output", tmp_path / "out", "--steps", 1,
        "--model", models[0], "--twin", models[1], "--groups", "paper,viewpoint",
        "--viewpoint-frames", 1,
    )  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "robustness.md").read_text()
    for expected in ("| model | twin |", "sigma 100", "60 % of pixels", "official", "-12 degrees"):
        assert expected in text
    for group in ("paper", "viewpoint"):
        assert f"robustness_{group}.png" in text
        assert cv2.imread(str(tmp_path / "out" / f"robustness_{group}.png")) is not None
    summary = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert summary["complete"]
    assert set(summary["summaries"]) == {"model", "twin"}
    one = tmp_path / "out" / "scores" / "twin" / "paper-hue-2.json"
    kept = one.read_bytes()
    one.unlink()
    assert run(*arguments).exit_code == 0
    assert one.read_bytes() == kept
    assert json.loads((tmp_path / "out" / "robustness.json").read_text()) == summary
    the_report_shows_the_curves(tmp_path, models, summary)
    # The results of other settings are not mixed with these.
    other = run(*arguments, "--seed", 1)
    assert other.exit_code == 1
    assert "other settings" in other.output
    label = tmp_path / "val" / "labels" / "a.png"
    cv2.imwrite(str(label), cv2.imread(str(label), cv2.IMREAD_UNCHANGED)[::-1])
    other = run(*arguments)
    assert other.exit_code == 1
    assert "files_fingerprint" in other.output.replace("\n", "")
    (tmp_path / "out" / "robustness.json").unlink()
    other = run(*arguments, "--seed", 1)
    assert other.exit_code == 1
    assert f"'{tmp_path / 'out' / 'scores'}' is of a run without" in other.output
    wrong = run(*arguments, "--groups", "paper,mist")
    assert wrong.exit_code == 1
    assert (
        "no group 'mist' of corruptions: expected some of paper, paper_scaled, imagenet_c, "
        "weather, viewpoint" in wrong.output
    )


def test_other_classes_are_refused_before_anything_is_scored(tmp_path):
    known = save_small_model(tmp_path / "known", label_set=CAMVID.classes)
    strange = save_small_model(tmp_path / "strange", classes=3)
    write_pictures(tmp_path / "camvid", (40, 48))
    write_pictures(tmp_path / "own", (40, 48), classes=3)
    save_label_set(LabelSet("own", find_config(strange).label_set), tmp_path / "own/label_set.yaml")
    camvid = ("--data", "camvid", "--root", tmp_path / "camvid")
    own = ("--data", "folder", "--root", tmp_path / "own")
    for words in (
        (*camvid, "--groups", "weather", "--model", strange),
        (*camvid, "--groups", "weather", "--model", known, "--twin", strange),
        (*own, "--groups", "viewpoint", "--model", strange),
    ):
        refused = run(*words, "--output", tmp_path / "out")
        assert refused.exit_code == 1
        assert "does not know the classes of camvid11" in refused.output
        assert not (tmp_path / "out").exists()
