"""`camss-ros compare`: what one model gains and loses against another."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from bag_files import images, labels, write_bag
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_pictures import write_pictures
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.evaluation.compare import compare, comparison_report
from camss_ros.evaluation.conditions import read_conditions
from camss_ros.evaluation.evaluate import evaluate
from camss_ros.evaluation.paired import PairedCounts, parse_requirements, unmet
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmentation
from camss_ros.inference.spec import SegmenterSpec

CAMVID = load_label_set("camvid11")
NAMES = [one.name for one in CAMVID.classes]
ROAD, TREE = 3, 5


class Painter:
    """Says road, but tree for the last columns, as many as `wrong` says of the frame's number."""

    classes, model_name = CAMVID.classes, "small"

    def __init__(self, wrong, confidence=255):
        self._wrong, self._confidence = wrong, confidence

    def segment(self, image):
        labels = np.full(image.shape[:2], ROAD, np.uint8)
        if count := self._wrong(int(image[0, 0, 0])):
            labels[:, -count:] = TREE
        confidence = np.full_like(labels, self._confidence)
        return Segmentation(labels, confidence, {"total": 0.01}, 1)


def drive(count):
    truth = np.full((4, 20), ROAD, np.uint8)
    return [(np.full((4, 20, 3), i, np.uint8), truth, f"frame{i}") for i in range(count)]


def two(wrong_first, wrong_second, count=40, **options):
    painters = Painter(wrong_first), Painter(wrong_second, 128)
    options = {"block": 5, **options}
    return compare(painters, drive(count), CAMVID, **options)


def test_the_scores_are_those_of_evaluate_and_the_frames_are_paired():
    found = two(lambda i: 2 + i % 3, lambda i: 1 + i % 3)
    for wrong, side in ((lambda i: 2 + i % 3, "first"), (lambda i: 1 + i % 3, "second")):
        expected = evaluate(Painter(wrong), drive(40), CAMVID).scores
        assert getattr(found.differences["miou"], side) == pytest.approx(expected.miou)
        assert getattr(found.differences["road"], side) == expected.per_class_iou[ROAD]
        accuracy = found.differences["pixel_accuracy"]
        assert getattr(accuracy, side) == pytest.approx(expected.pixel_accuracy)
    # the same gain in each frame is sure, whatever the frames are
    road = found.differences["road"]
    assert road.difference == pytest.approx(1 / 20)
    assert (road.low, road.high) == pytest.approx((1 / 20, 1 / 20))
    assert np.isnan(found.differences["sky"].difference)


def test_what_blocks_of_frames_gain_and_lose_is_unsure():
    rng = np.random.default_rng(0)
    of_block = rng.integers(0, 8, 40)  # neighbours resemble each other
    found = two(lambda i: 4, lambda i: int(of_block[i // 5]), count=200)
    road = found.differences["road"]
    assert road.low < road.difference < road.high
    alone = two(lambda i: 4, lambda i: int(of_block[i // 5]), count=200, block=1)
    narrow = alone.differences["road"]
    # blocks know that 200 frames are 40 independent ones: about sqrt(5) times as wide
    assert 1.7 < (road.high - road.low) / (narrow.high - narrow.low) < 2.8


def test_few_frames_are_not_taken_for_sure():
    road = two(lambda i: 4, lambda i: i % 3, count=6, block=10).differences["road"]
    assert road.low < road.difference < road.high


@pytest.mark.parametrize("block", [1, 5])
def test_an_interval_of_independent_frames_is_that_of_the_normal_distribution(block):
    right = np.random.default_rng(1).binomial(100, 0.5, size=(400, 2))
    counts = PairedCounts()
    for pair in right.tolist():
        counts.add(*(np.array([[n, 100 - n, 0], [0, 0, 0]]) for n in pair))
    found = counts.differences(["a", "b"], block)["pixel_accuracy"]
    gain = (right[:, 1] - right[:, 0]) / 100
    error = gain.std() / 400**0.5
    assert found.low == pytest.approx(gain.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(gain.mean() + 1.96 * error, abs=0.2 * error)


def test_a_class_of_few_frames_has_an_interval_too():
    counts = PairedCounts()
    for seen in (0, 0, 0, 0, 1):  # in a third of the draws it does not occur
        counts.add(*(np.array([[9, 0, 0], [0, right, (1 - right) * seen]]) for right in (0, seen)))
    found = counts.differences(["a", "b"], 1)["b"]
    assert (found.low, found.high) == (1, 1)


def test_frames_and_conditions_tell_where(tmp_path):
    table = tmp_path / "conditions.csv"
    rows = [
        f"frame{i}.png,{'night' if i >= 30 else 'day'},{'' if i else 'fast'}" for i in range(40)
    ]
    table.write_text("\n".join(["frame,light,speed", *rows]) + "\n")
    found = two(
        lambda i: 2, lambda i: 6 if i >= 30 else 0, conditions=read_conditions(table), clip=True
    )
    assert {name: of[0] for name, of in found.by_condition["light"].items()} == {
        "day": 30,
        "night": 10,
    }
    assert found.by_condition["light"]["night"][1]["road"].difference == pytest.approx(-4 / 20)
    assert found.by_condition["speed"]["fast"][0] == 1
    assert {each.name for each in found.worse} <= {f"frame{i}" for i in range(30, 40)}
    assert {each.name for each in found.better} <= {f"frame{i}" for i in range(30)}
    assert list(found.worse[0].tiles) == ["image.jpg", "label.png", "first.png", "second.png"]
    assert found.flicker[0] == 0
    assert found.flicker[1] > 0
    assert found.calibration_error[1] > found.calibration_error[0]
    json.dumps(comparison_report(found), allow_nan=False)


def test_conditions_of_picked_frames(tmp_path):
    file = tmp_path / "pick.json"
    stamp = 1_700_000_000_000_000_000  # 22:13 UTC
    frames = [
        {"file": "a_1.png", "topic": "/front/image", "stamp": stamp, "drive": "a"},
        {"file": "b.png", "topic": None, "stamp": None, "drive": "b"},
    ]
    file.write_text(json.dumps({"frames": frames}))
    assert read_conditions(file) == {
        "a_1": {"drive": "a", "camera": "/front/image", "day": "18 to 24 h UTC"},
        "b": {"drive": "b"},
    }
    named_by_stamp = tmp_path / "stamps.json"
    entries = {f"1305031102.{n}75": {"drive": f"drive {n}"} for n in range(2)}
    named_by_stamp.write_text(json.dumps({"frames": entries}))
    assert read_conditions(named_by_stamp) == entries
    imported = tmp_path / "import.json"  # of labels, of which one was not picked
    entries = {Path(it["file"]).stem: it for it in frames[:1]} | {"b": {"drive": "b"}}
    imported.write_text(json.dumps({"frames": entries}))
    assert read_conditions(imported) == read_conditions(file)


@settings(max_examples=50)
@given(st.text())
def test_what_is_no_table_of_conditions_is_refused(text):
    for suffix in (".csv", ".json"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"conditions{suffix}"
            path.write_text(text, encoding="utf-8")
            try:
                found, told = read_conditions(path), str(path)
            except ValueError as error:
                found, told = {}, str(error)
            assert str(path) in told
            assert all(isinstance(one, dict) for one in found.values())


def test_dots_in_the_name_of_a_frame_are_part_of_it(tmp_path):
    table = tmp_path / "conditions.csv"
    table.write_text("frame,light\n000001_17.25,day\n000002_17.35.JPG,night\nout/a.b.png,day\n")
    assert list(read_conditions(table)) == ["000001_17.25", "000002_17.35", "a.b"]


def test_a_table_may_be_one_of_excel(tmp_path):
    table = tmp_path / "conditions.csv"
    table.write_bytes("frame,light\r\nä,day\r\na\u0308,dusk\r\n".encode("utf-8-sig"))
    assert read_conditions(table) == {"ä": {"light": "dusk"}}  # one name, the second of macOS


def test_requirements():
    limits = parse_requirements("miou>=-0.005, traffic light >= 1e-2,road>=-0.1")
    assert limits == {"miou": -0.005, "traffic light": 0.01, "road": -0.1}
    found = two(lambda i: 2, lambda i: 4).differences
    assert unmet({"road": -0.2, "miou": -0.2}, found) == []
    assert unmet({"road": -0.05}, found) == ["road: -0.1000, at least -0.05 wanted"]
    assert "occurs in no frame" in unmet({"sky": -0.5}, found)[0]
    assert unmet({"road": 0.0}, two(lambda i: 2, lambda i: 2).differences) == []
    for text in ("miou", "miou>=", ">=1", "miou>=x", "", "miou<=3", "a>=1.2.3"):
        with pytest.raises(ValueError, match="is no requirement"):
            parse_requirements(text)


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("own"), (64, 96), "012")


def test_the_command_writes_a_page_and_its_exit_code_says_whether_it_will_do(
    own, tmp_path, monkeypatch
):
    models = [
        save_small_model(tmp_path / f"m{seed}", seed=seed, label_set=CAMVID.classes)
        for seed in (0, 1)
    ]
    page = tmp_path / "page.html"
    arguments = (*models, "--data", "camvid", "--root", own, "--output", page)
    result = run(*arguments, "--require", "miou>=-1")
    assert result.exit_code == 0, result.output
    numbers = json.loads(page.with_suffix(".json").read_text())
    assert numbers["frames"] == 3
    assert [one["source"] for one in numbers["models"]] == [str(one) for one in models]
    text = page.read_text()
    assert "bicyclist" in text
    assert "the intervals are rough" in text
    assert "blocks of 10 neighbouring frames, a fifth of all at most" in text
    assert "Met: miou" in text
    refused = run(*arguments, "--require", "miou>=0.9, sky>=-1")
    assert refused.exit_code == 2
    assert "miou" in refused.output
    assert "sky" not in refused.output.split("not met")[1]
    (tmp_path / "others.csv").write_text("frame,light\nother,day\n")
    others = run(*arguments, "--conditions", tmp_path / "others.csv")
    assert others.exit_code == 0
    assert "names no frame of these" in others.output
    # said before the models are loaded, which takes seconds
    monkeypatch.setattr(SegmenterSpec, "open", None)
    for said, *wrong in (
        ("tram", "--require", "tram>=0"),
        ("--bag", "--bag", own),
        ("no split 'none'", "--split", "none"),
        ("none.csv", "--conditions", tmp_path / "none.csv"),
    ):
        result = run(*arguments, *wrong)
        assert result.exit_code == 1
        assert said in result.output
    other = save_small_model(tmp_path / "other")
    result = run(models[0], other, *arguments[2:])
    assert f"{other}: the model does not know the classes" in result.output.replace("\n", " ")


def test_frames_whose_names_are_no_utf8_are_shown(tmp_path):
    model = save_small_model(tmp_path / "m", label_set=CAMVID.classes)
    data = write_pictures(tmp_path / "own", (64, 96))
    for picture in data.glob("val/*/a.png"):  # OpenCV could not write it
        picture.rename(picture.with_stem(os.fsdecode(b"stra\xdfe")))
    other = save_small_model(tmp_path / "n", seed=1, label_set=CAMVID.classes)
    page = tmp_path / "page.html"
    result = run(model, other, "--data", "camvid", "--root", data, "--output", page)
    assert result.exit_code == 0, result.output
    assert "stra?e: mIoU" in page.read_text()


def test_a_bag_with_labels_is_a_clip(tmp_path):
    model = save_small_model(tmp_path / "m", label_set=CAMVID.classes)
    bag = write_bag(tmp_path / "drive", images(3), labels(3))
    page = tmp_path / "page.html"
    topics = ("--image", "/cam/image", "--labels", "/cam/label")
    result = run(model, model, "--bag", bag, *topics, "--output", page)
    assert result.exit_code == 0, result.output
    numbers = json.loads(page.with_suffix(".json").read_text())
    assert numbers["frames"] == 3
    assert numbers["scores"]["miou"]["difference"] == 0
    assert numbers["flicker"][0] is not None
    assert run(model, model, "--bag", bag, "--image", "/cam/image", "--output", page).exit_code == 1
    # with a label or an image that can't be used in between, no two frames follow each other
    gap = write_bag(tmp_path / "gap", images(3), [labels(1)[0], labels(1)[0][:8], labels(1)[0]])
    cut = write_bag(
        tmp_path / "cut", images(3), labels(3), compressed=True,
        change=lambda number, data: data[:-80] if number == 1 else data,
    )  # fmt: skip
    for bag, said in ((gap, "the label is 48 x 8, its image 48 x 32"), (cut, "message 1")):
        result = run(model, model, "--bag", bag, *topics, "--output", page)
        assert result.exit_code == 0, result.output
        report = json.loads(page.with_suffix(".json").read_text())
        assert (report["frames"], report["flicker"]) == (2, [None, None])
        assert said in result.output.replace("\n", " ")
