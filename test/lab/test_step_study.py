"""The step study on a small model: rows, resuming after a stop, and the page."""

import json
import os

import cv2
import numpy as np
import pytest
from labelled_pictures import write_pictures
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets.datasets import open_data
from camss_ros.evaluation.evaluate import evaluate, every_nth
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab import sampling_study, step_study
from camss_ros.lab.sampling_study import SamplingStudy
from camss_ros.lab.step_study import iteration_rows, step_rows, study_steps
from camss_ros.model.checkpoint import weights_hash
from camss_ros.model.schedule import SamplingOptions

CAMVID = load_label_set("camvid11")
SETTINGS = {
    "model": {"name": "small", "sha256": "abc", "dtype": "float32"},
    "data": {"name": "camvid", "split": "val", "frames": 2},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three frames of 48 x 64."""
    return write_pictures(tmp_path_factory.mktemp("data"), (48, 64), "abc", 12)


def segmenter(model):
    return Segmenter(model, device="cpu", precision="fp32")


def test_rows_are_what_the_study_is_about():
    rows = step_rows()
    assert {row.sampling.steps for row in rows} == {1, 2, 4, 8, 25, 100}
    assert all(row.cells[1] == str(row.sampling.steps) for row in rows)
    kinds = {(r.sampling.sampler, r.sampling.temperature, r.sampling.samples) for r in rows}
    assert kinds == {
        ("ddim", 0, 1), ("ddim", 1, 1), ("ddim", 1, 8),
        ("dpm++2m", 0, 1), ("ddpm", 1, 1), ("ddpm", 1, 8),
    }  # fmt: skip
    passes = [(r.sampling.temperature, r.sampling.iterations) for r in iteration_rows()]
    assert passes == [(0, 1), (0, 8), (0, 32), (1, 1), (1, 8), (1, 32)]
    assert len({row.key for row in rows}) == len(rows)


def test_every_nth():
    frames = every_nth([10, 11, 12, 13, 14], 2)
    assert [frames[i] for i in range(len(frames))] == [10, 12, 14]


def run_study(model, root, output, progress=lambda done, total: None):
    frames = every_nth(open_data("camvid", root, "val"), 2)
    page, command = output / "steps.md", "camss-ros study steps"
    study = SamplingStudy(segmenter(model), frames, CAMVID, page, SETTINGS, command, progress)
    study_steps(study)


def test_a_stopped_study_goes_on_with_what_is_missing(small_model, root, tmp_path, monkeypatch):
    monkeypatch.setattr(step_study, "STEPS", (1, 2))
    monkeypatch.setattr(step_study, "ITERATIONS", (1, 2))
    evaluated = []

    def stop_at(row):
        def counting(segmenter, *arguments, **options):
            if len(evaluated) == row:
                raise KeyboardInterrupt
            evaluated.append(segmenter.sampling)
            return evaluate(segmenter, *arguments, **options)

        monkeypatch.setattr(sampling_study, "evaluate", counting)

    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        run_study(small_model, root, tmp_path)
    content = json.loads((tmp_path / "steps.json").read_text())
    assert not content["complete"]
    assert len(content["rows"]) == 3
    assert not (tmp_path / "steps.md").exists()

    stop_at(None)
    calls = []
    run_study(small_model, root, tmp_path, lambda done, total: calls.append((done, total)))
    content = json.loads((tmp_path / "steps.json").read_text())
    assert content["complete"]
    # 6 samplers with 2 numbers of steps; ddim with 4 steps, in 1 and 2 iterations, both starts
    assert len(content["rows"]) == len(evaluated) == len(set(evaluated)) == 16
    assert calls[-1] == (32, 32)

    whole = tmp_path / "whole"
    stop_at(None)
    evaluated.clear()
    run_study(small_model, root, whole)
    assert (whole / "steps.json").read_bytes() == (tmp_path / "steps.json").read_bytes()
    assert (whole / "steps.md").read_bytes() == (tmp_path / "steps.md").read_bytes()


def test_command_writes_page_plot_and_scores(small_model, root, tmp_path, monkeypatch):
    monkeypatch.setattr(step_study, "SAMPLINGS", {"ddim, zero start": SamplingOptions()})
    arguments = [
        "study", "steps", "--data", "camvid", "--root", str(root), "--every", "2", "--model",
        str(small_model), "--device", "cpu", "--precision", "fp32",
        "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["camss-ros", *arguments])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "steps.md").read_text()
    text = " ".join(page.split())
    assert weights_hash(small_model) in page
    assert "2 frames of camvid val" in text
    assert f"camss-ros study steps --data camvid --root PATH/{root.name} --every 2" in page
    assert str(tmp_path) not in page + (tmp_path / "out" / "steps.json").read_text()
    assert cv2.imread(str(tmp_path / "out" / "steps.png")).shape[1] > 600

    rows = json.loads((tmp_path / "out" / "steps.json").read_text())["rows"]
    one = rows["ddim steps=100 temperature=0.0 samples=1 iterations=1"]
    frames = every_nth(open_data("camvid", root, "val"), 2)
    alone = segmenter(small_model)
    alone.sampling = SamplingOptions(steps=100)
    expected = evaluate(alone, frames, CAMVID)
    assert one["miou"] == pytest.approx(expected.scores.miou)
    assert f"| ddim, zero start | 100 | {one['miou']:.3f} |" in page


def test_rows_of_frames_that_were_others_are_not_taken_again(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(step_study, "SAMPLINGS", {"ddim, zero start": SamplingOptions()})
    monkeypatch.setattr(step_study, "STEPS", (1,))
    monkeypatch.setattr(step_study, "ITERATIONS", (1,))
    results = []
    for folder, shade in (("one", 0), ("one", 0), ("other", 200)):
        root = tmp_path / folder / "camvid"
        if not root.exists():
            for kind in ("images", "labels"):
                (root / "val" / kind).mkdir(parents=True)
            cv2.imwrite(str(root / "val/images/0.png"), np.full((32, 48, 3), shade, np.uint8))
            cv2.imwrite(str(root / "val/labels/0.png"), np.zeros((32, 48), np.uint8))
        results.append(CliRunner().invoke(
            app,
            ["study", "steps", "--data", "camvid", "--root", str(root), "--model", str(small_model),
             "--output", str(tmp_path / "out")],
        ))  # fmt: skip
    assert [each.exit_code for each in results] == [0, 0, 1]
    assert "files_fingerprint" in results[-1].output.replace("\n", "")


def test_a_study_that_came_to_nothing_does_not_stand_in_the_way(
    small_model, root, tmp_path, monkeypatch
):
    monkeypatch.setattr(step_study, "SAMPLINGS", {"ddim, zero start": SamplingOptions()})
    monkeypatch.setattr(step_study, "STEPS", (1,))
    monkeypatch.setattr(step_study, "ITERATIONS", (1,))

    def run(model):
        return CliRunner().invoke(
            app,
            ["study", "steps", "--data", "camvid", "--root", str(root), "--model", str(model),
             "--output", str(tmp_path / "out")],
        )  # fmt: skip

    assert "does not know the classes" in run(save_small_model(tmp_path / "m", classes=3)).output
    result = run(small_model)
    assert result.exit_code == 0, result.output


def test_the_page_of_a_folder_whose_name_is_no_utf8(small_model, root, tmp_path, monkeypatch):
    name = os.fsdecode(b"stra\xdfe")
    monkeypatch.setattr(step_study, "SAMPLINGS", {"ddim, zero start": SamplingOptions()})
    monkeypatch.setattr(step_study, "STEPS", (1,))
    monkeypatch.setattr(step_study, "ITERATIONS", (1,))
    (tmp_path / name).symlink_to(root)
    arguments = ["study", "steps", "--data", "camvid", "--root", str(tmp_path / name),
                 "--model", str(small_model), "--output", str(tmp_path / "out")]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["camss-ros", *arguments])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "--root 'PATH/stra?e'" in (tmp_path / "out" / "steps.md").read_text()


def test_results_of_other_settings_are_not_mixed(small_model, root, tmp_path):
    path = tmp_path / "steps.json"
    path.write_text(json.dumps({"settings": {"seed": 7}, "rows": {}}))
    result = CliRunner().invoke(
        app,
        ["study", "steps", "--data", "camvid", "--root", str(root), "--model", str(small_model),
         "--output", str(tmp_path)],
    )  # fmt: skip
    assert result.exit_code == 1
    assert "other settings" in result.output
    assert json.loads(path.read_text())["settings"] == {"seed": 7}
