"""The study of the warm start: its rows, its page, and that it goes on after a stop."""

import json
from dataclasses import replace

import cv2
import pytest
from labelled_pictures import write_pictures
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets.datasets import open_data
from camss_ros.evaluation.evaluate import evaluate
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab import sampling_study, warm_start
from camss_ros.model.schedule import SamplingOptions

CAMVID = load_label_set("camvid11")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A clip of three frames of 48 x 64."""
    return write_pictures(tmp_path_factory.mktemp("data"), (48, 64), "abc", 12, brightness=30)


def run(model, root, output):
    return CliRunner().invoke(
        app,
        ["study", "warm-start", "--data", "camvid", "--root", str(root), "--model", str(model),
         "--device", "cpu", "--precision", "fp32", "--output", str(output)],
    )  # fmt: skip


def test_every_start_is_taken_with_every_number_of_steps():
    rows = warm_start.warm_rows(warm_start.STEPS, warm_start.START_TIMES)
    cold = [row.sampling.steps for row in rows if not row.sampling.warm_start_time]
    assert cold == [1, 2, 4]
    times = {row.sampling.warm_start_time for row in rows} - {0}
    assert len(times) > 2
    assert len(rows) == len({row.key for row in rows}) == 3 * (1 + len(times))


def test_the_page_has_the_scores_and_a_stopped_study_goes_on(
    small_model, root, tmp_path, monkeypatch
):
    monkeypatch.setattr(warm_start, "STEPS", (1,))
    monkeypatch.setattr(warm_start, "START_TIMES", (300, 600))
    output = tmp_path / "warm_start.md"
    stopping = iter([False, False, True])

    def stop(*arguments, **options):
        if next(stopping):
            raise OSError("disk full")
        return evaluate(*arguments, **options)

    monkeypatch.setattr(sampling_study, "evaluate", stop)
    assert "disk full" in run(small_model, root, output).output
    assert not output.exists()
    before = json.loads(output.with_suffix(".json").read_text())["rows"]
    assert list(before) == ["steps=1 warm_start_time=0", "steps=1 warm_start_time=300"]

    monkeypatch.setattr(sampling_study, "evaluate", evaluate)
    result = run(small_model, root, output)
    assert result.exit_code == 0, result.output
    content = json.loads(output.with_suffix(".json").read_text())
    assert content["complete"]
    rows = content["rows"]
    assert {key: rows[key] for key in before} == before
    assert [row["warm_frames"] for row in rows.values()] == [0, 2, 2]

    frames = open_data("camvid", root, "val")
    sampling = SamplingOptions(steps=1)
    for time, name in ((0, "cold"), (300, "warm from 300")):
        alone = Segmenter(
            small_model, device="cpu", precision="fp32",
            sampling=replace(sampling, warm_start_time=time),
        )  # fmt: skip
        expected = evaluate(alone, frames, CAMVID, clip=True)
        row = rows[f"steps=1 warm_start_time={time}"]
        assert row["flicker"] == pytest.approx(expected.accumulator.flicker())
        scores = f"{expected.scores.miou:.4f} | {expected.accumulator.flicker():.4f}"
        assert f"| {name} | 1 | {scores} |" in output.read_text()
    assert str(tmp_path) not in output.read_text()
    assert cv2.imread(str(output.with_suffix(".png"))).shape[1] > 600


def test_evaluate_takes_a_warm_start_of_a_clip(small_model, root, tmp_path):
    command = ["evaluate", "--data", "camvid", "--root", str(root), "--model", str(small_model),
               "--device", "cpu", "--precision", "fp32", "--warm-start-time", "300", "--clip",
               "--json", str(tmp_path / "scores.json")]  # fmt: skip
    assert CliRunner().invoke(app, command).exit_code == 0
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["sampling"]["warm_start_time"] == 300
