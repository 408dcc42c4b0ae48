"""Files that cannot be written or must not be trusted: commands end with the reason, keep no half
file under its name, and run again once there is room.

In every test run the size of files is limited, as by `ulimit -f`; the long form also has a real
file system that is full, in a mount namespace of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from bag_files import images, write_bag
from fault_scale import LONG
from file_limit import file_limit
from harmful_pickle import Touch
from labelled_pictures import write_pictures
from small_model import save_small_model
from typer.testing import CliRunner, Result

from camss_ros.atomic_files import replacing
from camss_ros.cli import app
from camss_ros.images.video_writer import VideoWriter
from camss_ros.inference import auto
from camss_ros.model.checkpoint import ModelError, load_network, save_pretrained
from camss_ros.model.schedule import SamplingOptions
from camss_ros.resources import config_file


@pytest.fixture(scope="module")
def inputs(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag, a labelled folder and checkpoints to convert."""
    folder = tmp_path_factory.mktemp("inputs")
    write_bag(folder / "bag", images(4))
    write_pictures(folder / "data", (32, 48), "01")
    shutil.copy(config_file("label_sets/camvid11.yaml"), folder / "data" / "label_set.yaml")
    return folder


def commands(inputs: Path, small: Path, output: Path) -> dict[str, list[Any]]:
    """By name; each writes into `output` what no other does."""
    model = ["--model", small, "--device", "cpu", "--backend", "torch"]
    bag = ["--image", "/cam/image"]
    data = ["--data", "folder", "--root", inputs / "data"]
    return {
        "segment": ["segment", inputs / "data" / "val", "--output", output / "segment", *model],
        "evaluate-bag": ["evaluate-bag", inputs / "bag", *bag, "--output", output / "eval", *model],
        "evaluate": ["evaluate", *data, "--json", output / "scores.json", *model],
        "report": ["evaluate", *data, "--report", output / "report.html", *model],
        "make-bag": ["make-bag", "synthetic", "--frames", 3, "--output", output / "made"],
        "export": ["export", "--model", small, "--output", output / "graph.onnx"],
    }


def run(command: list[Any]) -> Result:
    return CliRunner().invoke(app, list(map(str, command)))


def half_files(output: Path) -> list[str]:
    """JSON that is none, videos that do not play, bags that are not finished."""
    found = []
    for path in output.rglob("*"):
        if path.name.startswith("."):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix in (".png", ".jpg") and cv2.imread(str(path)) is None:
            found.append(path.name)
        if path.suffix in (".mp4", ".html", ".onnx", ".mcap"):
            found.append(path.name)
    return found


@pytest.mark.parametrize(
    "name",
    ["segment", "evaluate-bag", "evaluate", "report", "make-bag", *(["export"] if LONG else [])],
)
def test_a_full_disk_ends_a_command_with_the_reason(
    inputs: Path, small_model: Path, tmp_path: Path, name: str
) -> None:
    command = commands(inputs, small_model, tmp_path)[name]
    with file_limit(1500):
        result = run(command)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "camss-ros:" in result.output
    assert "too large" in result.output.lower()
    assert half_files(tmp_path) == []
    again = run(command)
    assert again.exit_code == 0, again.output
    assert any(tmp_path.iterdir())


@pytest.mark.skipif(not LONG, reason="part of make test-faults")
@pytest.mark.parametrize("name", ["segment", "evaluate-bag", "evaluate", "report", "make-bag"])
def test_a_full_file_system_ends_a_command_with_the_reason(
    inputs: Path, small_model: Path, tmp_path: Path, name: str
) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("no mount namespace can be made here")
    command = ["camss-ros", *map(str, commands(inputs, small_model, tmp_path / "full")[name])]
    (tmp_path / "full").mkdir()
    mount = f"mount -t tmpfs -o size=32k tmpfs {tmp_path / 'full'}"
    # To the last byte: the scores of a small data set need little.
    fill = f"! head -c 64K /dev/zero > {tmp_path / 'full' / 'ballast'} 2>/dev/null"
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && {fill} && "$@"', "sh", *command],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_video_that_cannot_be_written_is_not_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def write() -> None:
        with VideoWriter(tmp_path / "a.mp4", fps=10) as video:
            for _ in range(40):
                video.write(rng.integers(0, 256, (64, 96, 3), np.uint8))

    with file_limit(20_000), pytest.raises(OSError, match="too large"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_the_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    named = pytest.raises(OSError, match=r"too large: .*/frames\.jsonl'")
    with file_limit(20_000), named, replacing(path) as partial, partial.open("w") as file:
        for _ in range(40):
            file.write("{}" * 500)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    save_small_model(tmp_path, seed=1)
    before = (tmp_path / "model.safetensors").read_bytes()
    network = load_network(tmp_path)
    with file_limit(20_000), pytest.raises(ModelError, match="cannot be written"):
        save_pretrained(network, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_cache_that_cannot_be_written_leaves_the_choice_of_a_backend(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made there
    pytorch, other = auto.Candidate("torch", "fp32"), auto.Candidate("openvino", "fp32")
    monkeypatch.setattr(auto, "candidates", lambda *_: [pytorch, other])
    monkeypatch.setattr(auto, "_installed", lambda *_: True)
    monkeypatch.setattr(auto.BackendChoice, "times", lambda _: {pytorch: 0.2, other: 0.1})
    warnings: list[str] = []
    monkeypatch.setattr(auto._log, "warning", lambda text, *_: warnings.append(text))
    cpu = torch.device("cpu")
    choice = auto.BackendChoice(small_model, cpu, "fp32", (64, 96), SamplingOptions(steps=1))
    assert choice.choose() == other
    assert ["not kept" in text for text in warnings] == [True]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_convert_runs_nothing_that_a_checkpoint_brings_along(tmp_path: Path, zipped: bool) -> None:
    for name, entry in (("vae.ckpt", "state_dict"), ("transformer.pth", "model_ema")):
        content = {entry: {"weight": torch.zeros(2)}, "more": Touch(tmp_path / "touched")}
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    result = run(
        ["convert", "official", "--vae", tmp_path / "vae.ckpt",
         "--transformer", tmp_path / "transformer.pth", "--output", tmp_path / "model"]
    )  # fmt: skip
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "vae.ckpt cannot be read as a PyTorch checkpoint" in result.output
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "model").exists()
