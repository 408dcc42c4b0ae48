"""Evaluation of a segmenter on labelled frames."""

import json

import cv2
import numpy as np
import pytest
from labelled_pictures import write_pictures
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.evaluation.evaluate import (
    class_table,
    evaluate,
    evaluation_report,
    open_labelled,
)
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet, load_label_set, save_label_set
from camss_ros.inference.segmenter import Segmentation, Segmenter
from camss_ros.model.schedule import SamplingOptions

CAMVID = load_label_set("camvid11")


class ColorSegmenter:
    """Reads the class from the red channel, whose ids count backwards."""

    model_name = "colours"
    classes = tuple(
        LabelClass(i, label_class.name, label_class.color)
        for i, label_class in enumerate(reversed(CAMVID.classes))
    )

    def segment(self, image):
        labels = np.where(image[..., 0] == 255, 255, 10 - image[..., 0]).astype(np.uint8)
        return Segmentation(labels, np.full_like(labels, 255), {"total": 0.5}, 1)


def frame(seen, truth):
    image = np.zeros((1, len(seen), 3), np.uint8)
    image[..., 0] = seen
    return image, np.array([truth], np.uint8), "frame"


def test_classes_correspond_by_name():
    frames = [frame([0, 3, 8], [0, 3, 8]), frame([3, 3, 255, 8], [3, 8, 8, 255])]
    done = []
    result = evaluate(ColorSegmenter(), frames, CAMVID, progress=done.append)
    assert done == [1, 2]
    assert result.frames == 2
    assert result.seconds_per_frame == 0.5
    np.testing.assert_allclose(result.scores.per_class_iou[[0, 3, 8]], [1, 2 / 3, 1 / 3])
    assert result.scores.miou == pytest.approx(2 / 3)
    assert result.scores.pixel_accuracy == pytest.approx(4 / 6)
    content = json.loads(json.dumps(evaluation_report(result, CAMVID), allow_nan=False))
    assert content["miou"] == pytest.approx(2 / 3)
    assert content["per_class_iou"]["road"] == pytest.approx(2 / 3)
    assert content["per_class_iou"]["tree"] is None
    assert content["frames"] == 2
    assert content["flicker"] is None  # nobody said that it is a clip
    # Full confidence, two of six pixels wrong.
    assert content["expected_calibration_error"] == pytest.approx(2 / 6)
    assert content["reliability"]["pixels"] == [0] * 14 + [6]
    assert content["per_class_boundary_iou"]["road"] == pytest.approx(2 / 3)


def test_flicker_of_a_clip():
    frames = [frame([0, 3, 8], [0, 3, 8]), frame([0, 3, 3], [0, 3, 8])]
    result = evaluate(ColorSegmenter(), frames, CAMVID, clip=True)
    assert result.accumulator.flicker() == pytest.approx(1 / 3)
    frames.append(frame([0, 3], [0, 3]))
    with pytest.raises(ValueError, match=r"\(1, 2\), the one before \(1, 3\): .* one size"):
        evaluate(ColorSegmenter(), frames, CAMVID, clip=True)
    assert evaluate(ColorSegmenter(), frames, CAMVID).frames == 3


def test_other_classes_are_refused_with_their_names():
    classes = [
        *CAMVID.classes[:-1],
        LabelClass(10, "tram", (1, 1, 1)),
        LabelClass(255, "void", (0, 0, 0)),
    ]
    with pytest.raises(ValueError, match=r"missing in the model: bicyclist; .* tram"):
        class_table(classes, "small", CAMVID)


def test_a_finer_model_is_scored_in_the_classes_of_the_data():
    fine = load_label_set("cityscapes19")
    table = class_table(fine.classes, "small", CAMVID)
    told = {one.name: CAMVID.classes[table[one.id]].name for one in fine.classes}
    assert (told["rider"], told["truck"], told["wall"]) == ("bicyclist", "car", "building")
    assert (table[len(fine.classes) :] == 255).all()
    # Not the other way round: what CamVid does not tell apart would count as never found.
    with pytest.raises(ValueError, match=r"missing in the model: wall, .*terrain") as error:
        class_table(CAMVID.classes, "small", fine)
    # Those that are there by another name are not among them.
    assert "sidewalk" not in str(error.value)


def test_a_model_with_classes_of_its_own_is_scored_by_the_mapping_of_its_name():
    own = [LabelClass(i, name, (i, 0, 0)) for i, name in enumerate(("path", "lawn", "bush"))]
    classes = LabelClass(0, "green", (0, 9, 0)), LabelClass(1, "way", (9, 9, 9))
    sources = {"yard": {"path": "way", "lawn": "green", "bush": "green"}}
    labels = LabelSet("coarse", classes, sources=sources)
    assert class_table(own, "yard", labels)[:4].tolist() == [1, 0, 0, 255]
    with pytest.raises(ValueError, match="only in the model: bush, lawn, path"):
        class_table(own, "meadow", labels)


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_data_in_the_working_folder_have_its_name(tmp_path, monkeypatch):
    write_pictures(tmp_path / "yard", (32, 32))
    save_label_set(CAMVID, tmp_path / "yard" / "label_set.yaml")
    monkeypatch.chdir(tmp_path / "yard")
    for root in (".", "val/.."):
        assert open_labelled("folder", root, "val").name == "yard val"


def test_unknown_data_split_and_model_are_named(tmp_path):
    result = run("--data", "mars", "--root", tmp_path)
    assert result.exit_code == 1
    assert "'mars'" in result.output
    assert "camvid" in result.output
    write_pictures(tmp_path, (32, 32))
    result = run("--data", "camvid", "--root", tmp_path, "--split", "tset")
    assert result.exit_code == 1
    assert "tset" in result.output
    assert "val" in result.output
    result = run("--data", "camvid", "--root", tmp_path, "--sampler", "magic")
    assert result.exit_code == 1
    assert "magic" in result.output
    result = run("--data", "camvid", "--root", tmp_path, "--model", tmp_path / "no_model")
    assert result.exit_code == 1
    assert "no_model" in result.output
    result = run("--data", "camvid", "--root", tmp_path, "--json", tmp_path / "no" / "x.json")
    assert result.exit_code == 1
    assert "a folder that exists" in result.output


def test_command_scores_a_folder_as_the_segmenter_sees_it(tmp_path):
    """The written mIoU is that of the segmenter's own labels, counted by hand."""
    model = save_small_model(tmp_path / "model", label_set=CAMVID.classes)
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "val" / folder).mkdir(parents=True)
    segmenter = Segmenter(model, device="cpu", sampling=SamplingOptions(steps=2), seed=5)
    hits, union = np.zeros(11), np.zeros(11)
    for name in ("a", "b"):
        image = rng.integers(0, 256, (40, 56, 3), np.uint8)
        predicted = segmenter.segment(image).labels
        truth = predicted.copy()
        truth[:10] = 3
        truth[35:] = 11  # void in the files
        cv2.imwrite(str(tmp_path / "val" / "images" / f"{name}.png"), image[..., ::-1])
        cv2.imwrite(str(tmp_path / "val" / "labels" / f"{name}.png"), truth)
        for c in range(11):
            hits[c] += ((truth == c) & (predicted == c)).sum()
            union[c] += (((truth == c) | (predicted == c)) & (truth != 11)).sum()
    path = tmp_path / "scores.json"
    result = run("--data", "camvid", "--root", tmp_path, "--model", model, "--device", "cpu",
                 "--steps", 2, "--seed", 5, "--clip", "--json", path)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "road" in result.output
    content = json.loads(path.read_text())
    assert content["miou"] == pytest.approx((hits[union > 0] / union[union > 0]).mean())
    assert 0 < content["pixel_accuracy"] <= 1
    assert 0 < content["precision_void_excluded"] <= 1
    assert 0 < content["mean_f1"] <= 1
    assert 0 < content["boundary_iou"] <= 1
    assert content["flicker"] is not None
    assert "flicker" in result.output
    assert content["frames"] == 2
    assert content["sampling"]["steps"] == 2
    assert content["seconds_per_frame"] > 0


@pytest.mark.parametrize("option", ["--keyframe-interval", "--warm-start-time"])
def test_what_needs_a_clip_is_refused_without(tmp_path, option):
    result = run("--data", "camvid", "--root", tmp_path, option, 2)
    assert result.exit_code == 1
    assert f"{option} needs --clip" in result.output


def test_other_data_sets_are_scored_in_the_models_label_set(tmp_path):
    model = save_small_model(tmp_path / "model", label_set=CAMVID.classes)
    image = tmp_path / "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png"
    label = tmp_path / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png"
    for path, pixels in ((image, np.zeros((32, 48, 3), np.uint8)), (label, np.full((32, 48), 7))):
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), pixels)
    arguments = ("--data", "cityscapes", "--root", tmp_path, "--model", model, "--device", "cpu")
    result = run(*arguments)
    assert result.exit_code == 1
    assert "does not know the classes of cityscapes19" in result.output
    path = tmp_path / "scores.json"
    result = run(*arguments, "--label-set", "camvid11", "--steps", 1, "--json", path)
    assert result.exit_code == 0, result.output
    content = json.loads(path.read_text())
    assert content["data"]["label_set"] == "camvid11"
    assert content["per_class_recall"]["road"] is not None
    assert content["per_class_recall"]["sky"] is None
