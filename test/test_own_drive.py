"""From a drive to a model in the running node: every step as the commands of docs/own_data.md.

The drive is of the synthetic street by dusk, from a camera that is mounted higher; its labels are
those of the scene, where a person would draw them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_files import write_bag
from segmenter_process import Camera, Process, at_the_front
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_sets import load_label_set
from camss_ros.street.synthetic import SyntheticStreet, ViewShift

FRAMES = 8
DRIVES = {"monday": 0, "tuesday": 1}  # seeds


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def drives(tmp_path: Path) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Frames and labels of each drive, whose bag is beside."""
    shift = ViewShift(height=0.8)
    made = {}
    for name, seed in DRIVES.items():
        street = SyntheticStreet(seed, "dusk", 64, 96)
        made[name] = [street.frame(15 * number, shift) for number in range(FRAMES)]
        write_bag(tmp_path / name, [image for image, _ in made[name]])
    return made


def test_from_a_drive_to_a_model_in_the_running_node(
    drives: dict[str, list[tuple[np.ndarray, np.ndarray]]],
    spawn: Callable[..., Process],
    module_domain_id: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    start = save_small_model(tmp_path / "start", label_set=load_label_set("camvid11").classes)
    bags = [tmp_path / name for name in DRIVES]
    picked, labelled, own = tmp_path / "picked", tmp_path / "labelled", tmp_path / "own"
    run("pick", *bags, "--model", start, "--count", 12, "--interval", 0, "--output", picked)
    frames = json.loads((picked / "pick.json").read_text())["frames"]
    assert len(frames) == 12

    (labelled / "labels").mkdir(parents=True)
    for frame in frames:  # in place of a person
        _, truth = drives[Path(frame["source"]).name][frame["number"]]
        cv2.imwrite(str(labelled / "labels" / frame["file"]), truth)
    run(
        "data", "import", labelled, "--format", "png", "--label-set", "camvid11",
        "--images", picked, "--val", "tuesday", "--output", own,
    )  # fmt: skip

    settings = (
        "loop.steps=40", "loop.batch=4", "loop.precision=fp32", "loop.learning_rate=3e-3",
        "loop.evaluate_every=20", "frozen_stages=0",
    )  # fmt: skip
    better = tmp_path / "better"
    run(
        "finetune", "--data", own, "--model", start, "--output", better,
        *(part for each in settings for part in ("--set", each)),
    )  # fmt: skip

    page = tmp_path / "compared.html"
    run(
        "compare", start, better / "best", "--data", "folder", "--root", own, "--output", page,
        "--conditions", own / "import.json", "--require", "pixel_accuracy>=0.05, road>=0.05",
    )  # fmt: skip
    numbers = json.loads(page.with_suffix(".json").read_text())
    assert numbers["scores"]["pixel_accuracy"]["difference"] > 0.1
    assert list(numbers["conditions"]["drive"]) == ["tuesday"]
    assert list(numbers["conditions"]["camera"]) == ["/cam/image"]
    guard = tmp_path / "guard.yaml"
    guarded = ("--data", "folder", "--root", own, "--output", guard, "--margin", 0.1)
    run("guard", "--model", better / "best", *guarded)

    with at_the_front(spawn, module_domain_id, start) as (process, peer):
        camera = Camera(peer, process)
        assert camera.status().model == "small"
        for name, value in (("model", better / "best"), ("guard", guard)):
            assert peer.set_parameter(name, str(value)).successful
        response: Any = peer.reload_model()
        assert response.success, response.message
        camera.segment(camera.next_image())
        assert camera.status(lambda s: s.model == "better").segmented > 0
