"""What the commands say before their work: inputs, outputs, sizes and seeds that can't be."""

import inspect
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
import pytest
import typer
from small_model import save_small_model
from training_run import CONFIGS, write_camvid
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.commands.options import (
    check_file,
    check_folder,
    command_line,
    parse_size,
    progress_row,
    shown_part,
)
from camss_ros.commands.segmenter_options import NETWORK, _make_spec, segmenter_options
from camss_ros.inference.segmenter import Segmenter
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.model.schedule import SamplingOptions
from camss_ros.training.progress import step_progress, track

LAST = typer.Option(None, "--last", help="Its own option.")


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output.replace("\n", "")


@pytest.fixture
def nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights are read and no node is started."""

    def too_late(*arguments: object, **options: object) -> None:
        raise AssertionError("the work had begun")

    monkeypatch.setattr("camss_ros.inference.segmenter.open_backend", too_late)
    monkeypatch.setattr("camss_ros.model.checkpoint.load_camseg", too_late)
    monkeypatch.setattr("torch.load", too_late)
    monkeypatch.setattr("camss_ros.training.train_segmenter.open_training_data", too_late)
    monkeypatch.setattr("camss_ros.training.train_twin.open_training_data", too_late)
    monkeypatch.setattr("camss_ros.nodes.harness.demo.record_demo", too_late)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file, a data set and an image."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    write_camvid(tmp_path / "camvid", frames=1)
    cv2.imwrite("image.png", np.zeros((32, 48, 3), np.uint8))
    return tmp_path


DATA = ("--data", "camvid", "--root", "camvid")
TRAIN = ("--config", CONFIGS / "camss_tiny_camvid.yaml", "--root", "camvid", "--output", "out")
CHECKPOINTS = ("--vae", "file", "--transformer", "file")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("segment", "gone.png", "--output", "out"), "no 'gone.png'"),
        (("segment", "synthetic", "--output", "out"), "no end"),
        (("drift", "check", "image.png", "synthetic"), "no end"),
        (("segment", "image.png", "--output", "file"), "file is no folder"),
        (("segment", "image.png", "--output", "file/out"), "file is no folder"),
        (("demo", "--device", "foo", "--output", "out"), "device must be one of"),
        (("demo", "--backend", "foo", "--output", "out"), "backend must be one of"),
        (("demo", "--precision", "foo", "--output", "out"), "precision must be one of"),
        (("demo", "--network-size", "100x100", "--output", "out"), "expected multiples of 16"),
        (("demo", "--network-size", "100", "--output", "out"), "expected WIDTHxHEIGHT"),
        (("demo", "--model", "gone", "--output", "out"), "no model 'gone'"),
        (("demo", "--samples", "65", "--output", "out"), "samples must be from 1 to 64, not 65"),
        (("demo", "--seed", 2**40, "--output", "out"), "seed must be from 0 to"),
        (("demo", "--sampler", "foo", "--output", "out"), "sampler must be one of"),
        (("benchmark", "--node", "--temperature", "3"), "temperature must be from 0.0 to 2.0"),
        (("benchmark", "--node", "--frames", "50"), "leave them out with --node"),
        (("benchmark", "--node", "--calls"), "leave them out with --node"),
        (("benchmark", "--node", "--versus", "official"), "two measurements: choose one"),
        (("benchmark", "--turns", "5"), "--turns is of --versus official"),
        (("info", "--size", "64x64"), "--size is of --flops"),
        (("demo", "--output", "file"), "file is no folder"),
        (("demo", "--input", "gone.mp4", "--output", "out"), "no 'gone.mp4'"),
        (("evaluate", "--data", "camvid", "--root", "gone"), "no data folder gone"),
        (("evaluate", *DATA, "--json", "camvid"), "can't write camvid"),
        (("evaluate", *DATA, "--json", "gone/a.json"), "can't write gone/a.json"),
        (("evaluate", *DATA, "--report", "gone/a.html"), "can't write gone/a.html"),
        (("evaluate", *DATA, "--report", "a.txt"), "expected a .html file"),
        (("evaluate-bag", "bag", "--image", "/a", "--output", "file"), "file is no folder"),
        (("replay", "bag", "--image", "/a", "--output", "file"), "file is no folder"),
        (("robustness", *DATA, "--output", "file"), "file is no folder"),
        (("robustness", *DATA, "--output", "out", "--page", "file/a.md"), "file is no folder"),
        (("robustness", *DATA, "--output", "out", "--page", "camvid"), "name ends in .md"),
        (("study", "steps", *DATA, "--output", "file"), "file is no folder"),
        (("study", "warm-start", *DATA, "--output", "file/a.md"), "file is no folder"),
        (("study", "kl-vs-vq", *DATA, "--output", "file"), "file is no folder"),
        (("study", "speed", "--output", "file"), "file is no folder"),
        (("benchmark", "--json", "gone/a.json"), "can't write gone/a.json"),
        (("export", "--output", "gone/a.onnx"), "can't write gone/a.onnx"),
        (("export", "--output", "a.onnx", "--images", "gone.mp4"), "no 'gone.mp4'"),
        (("data", "show", *DATA, "--output", "x.txt"), "expected a .png file"),
        (("data", "show", *DATA, "--output", "gone/x.png"), "can't write gone/x.png"),
        (("convert", "official", *CHECKPOINTS, "--output", "file"), "file is no folder"),
        (("train", "segmenter", *TRAIN, "--set", "autoencoder=gone.pt"), "gone.pt"),
        (("train", "segmenter", *TRAIN, "--output", "file"), "file is no folder"),
        (("train", "segmenter", *TRAIN, "--set", "start_from=gone"), "no model 'gone'"),
    ],
)
def test_it_is_told_before_the_work(
    places: Path, nothing_works: None, command: tuple[object, ...], message: str
) -> None:
    code, output = run(*command)
    assert code == 1
    assert message in output


def test_a_folder_that_nothing_can_be_written_to(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "folder")
    check_file(tmp_path / "new.json")
    check_file(None)
    assert list(tmp_path.iterdir()) == []
    for check, path in ((check_folder, "/proc/out"), (check_file, "/proc/a.json")):
        with pytest.raises(ValueError, match=f"can't write (to )?{path}"):
            check(Path(path))


def test_devices_and_pipes_are_not_replaced_by_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(ValueError, match=f"can't write {path}: expected a file"):
            check_file(path)


def test_statistics_that_cannot_be_written_are_not_learnt(
    places: Path, nothing_works: None
) -> None:
    model = save_small_model(places / "model")
    (model / "drift.safetensors").mkdir()
    code, output = run("drift", "learn", "--model", model, *TRAIN[:4])
    assert code == 1
    assert f"can't write {model / 'drift.safetensors'}" in output


def test_checkpoints_that_are_text_are_named(places: Path) -> None:
    Path("text").write_text("i105\n")
    for command in (
        ("convert", "official", "--vae", "text", "--transformer", "text", "--output", "out"),
        ("train", "segmenter", *TRAIN, "--set", "autoencoder=text"),
    ):
        code, output = run(*command)
        assert code == 1
        assert "text cannot be read as a PyTorch checkpoint (" in output


@pytest.mark.parametrize(
    "command",
    [
        ("segment", "image.png", "--output", "out"),
        ("evaluate", *DATA),
        ("evaluate-bag", "bag", "--image", "/a", "--output", "out"),
        ("robustness", *DATA, "--output", "out"),
        ("study", "steps", *DATA, "--output", "out"),
        ("data", "show", *DATA, "--output", "x.png"),
    ],
)
def test_a_seed_is_of_64_bits(
    places: Path, nothing_works: None, command: tuple[object, ...]
) -> None:
    for seed in (-1, 2**64, 10**30):
        code, output = run(*command, "--seed", seed)
        assert code == 2
        assert "--seed" in output


def test_a_seed_of_64_bits_is_taken_in_python_and_training_too(places: Path) -> None:
    model = save_small_model(places / "model")
    segmenter = Segmenter(model, device="cpu", seed=2**64 - 1)
    segmenter.segment(np.zeros((32, 48, 3), np.uint8))
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="seed must be a whole number from 0"):
            Segmenter(model, device="cpu", seed=seed)
        code, output = run("train", "segmenter", *TRAIN, "--set", f"loop.seed={seed}")
        assert code == 1
        assert "loop: seed must be a whole number from 0" in output


def test_a_command_line_shows_no_folders_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "of somebody" / "camvid"
    words = [
        "evaluate", "--root", str(outside), f"--report={outside}.html", "--model", "../tiny",
        "--image", "/camera/image", "--output", "out/scores", "--root", "~/camvid",
        "--other", f"camvid:{outside}:val:48x32", "--set", f"start_from={outside}",
        "--root", f"{outside}=2",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["camss-ros", *words])
    shown = (
        "camss-ros evaluate --root PATH/camvid --report=PATH/camvid.html --model PATH/tiny "
        "--image /camera/image --output out/scores --root PATH/camvid "
        "--other camvid:PATH/camvid:val:48x32 --set start_from=PATH/camvid --root PATH/camvid=2"
    )
    assert command_line() == shown


def test_a_file_whose_name_is_no_utf8_is_told(places: Path) -> None:
    bag = os.fsdecode(b"stra\xdfe")
    told = subprocess.run(
        [sys.executable, "-m", "camss_ros.cli", "make-bag", "image.png", "--output", bag],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, capture_output=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert b"stra\xdfe" in told.stdout


def test_the_options_of_a_segmenter_become_its_spec() -> None:
    made: list[SegmenterSpec] = []

    @segmenter_options(*NETWORK, "steps", "seed", device="cpu", order="random")
    def command(
        first: str = typer.Argument(...),
        *,
        spec: SegmenterSpec,
        last: Optional[int] = LAST,  # noqa: UP045
    ) -> None:
        """What it does."""
        made.append(spec)
        assert (first, last) == ("a", 3)

    alone = typer.Typer()
    alone.command()(command)
    assert CliRunner().invoke(alone, ["a", "--last", "3"]).exit_code == 0
    given = "--model m --steps 2 --seed 5 --device auto --precision bf16 --backend auto "
    given += "--network-size 96x64 a --last 3"
    assert CliRunner().invoke(alone, given.split()).exit_code == 0
    sampling = SamplingOptions(order="random")
    assert made == [
        SegmenterSpec(sampling=sampling, device="cpu"),
        SegmenterSpec("m", replace(sampling, steps=2), 5, "auto", "bf16", "auto", (64, 96)),
    ]
    help_text = CliRunner().invoke(alone, ["--help"]).output
    assert "What it does." in help_text
    assert "auto, fp32, bf16" in help_text
    assert help_text.index("--steps") < help_text.index("--backend") < help_text.index("--last")
    assert "--sampler" not in help_text
    wrong = CliRunner().invoke(alone, ["a", "--steps", "0", "--last", "3"])
    assert wrong.exit_code == 1
    assert "camss-ros: steps must be from 1" in wrong.output
    assert len(made) == 2


def test_commands_and_python_segment_alike_by_default() -> None:
    options = inspect.signature(_make_spec).parameters
    defaults = {name: each.default.default for name, each in options.items()}
    assert _make_spec(**defaults) == SegmenterSpec()


def test_sizes_are_width_times_height() -> None:
    assert parse_size("--size", "640x480") == (480, 640)
    assert parse_size("--size", "480x640") == (640, 480)  # of a camera that stands upright
    with pytest.raises(ValueError, match="--size '640': expected WIDTHxHEIGHT"):
        parse_size("--size", "640")


def test_progress_is_no_part_of_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_row("counting", 2) as step:
        step()
        step()
    with shown_part() as show:
        show("measuring")
    with step_progress(shown=True) as bar:
        bar.add_task("training", total=1, text="", seconds=math.inf)
    assert list(track([1, 2], "reading")) == [1, 2]
    captured = capsys.readouterr()
    assert captured.out == ""
    shown = ("counting", "2/2", "measuring", "training", "reading")
    assert all(word in captured.err for word in shown)


@pytest.mark.parametrize(
    ("done", "seconds", "remaining"),
    [(0, math.inf, "-:--:--"), (0, 90.4, "0:01:30"), (2, 90.4, "0:00:00")],
)
def test_the_progress_of_a_training_ends_by_its_time(
    done: int, seconds: float, remaining: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with step_progress(shown=True) as bar:
        task = bar.add_task("training", total=2, text="", seconds=seconds)
        bar.update(task, completed=done)
    assert remaining in capsys.readouterr().err


def test_a_command_prints_its_results_alone(places: Path) -> None:
    cv2.imwrite("[new].png", np.zeros((32, 48, 3), np.uint8))
    result = CliRunner().invoke(app, ["drift", "check", "[new].png", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "1/1" in result.stderr
    assert all("[new].png" in text for text in (result.stderr, result.stdout))
    assert "beyond the limit" in result.stdout
    assert "1/1" not in result.stdout
