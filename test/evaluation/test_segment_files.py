"""`camss-ros segment`: the files it leaves, and that a stopped run goes on."""

import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_model import save_small_model
from typer.testing import CliRunner, Result

from camss_ros.atomic_files import locked
from camss_ros.cli import app
from camss_ros.evaluation.result_folder import OutputMismatchError
from camss_ros.evaluation.segment_files import segment_files
from camss_ros.images.frames import Frame, FrameSource, open_frames, open_frames_of_model
from camss_ros.images.video_writer import VideoWriter
from camss_ros.inference.auto import BackendChoice, Candidate
from camss_ros.inference.segmenter import Segmenter

pytestmark = pytest.mark.usefixtures("only_pytorch")

SIZE = (48, 64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def segmenter(model: Path) -> Segmenter:
    return Segmenter(model, device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five labelled images, one of them damaged."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / "input" / part).mkdir(parents=True)
    for index in range(5):
        image = rng.integers(0, 255, (*SIZE, 3), np.uint8)
        label = rng.integers(0, 12, SIZE, np.uint8)
        cv2.imwrite(str(tmp_path / f"input/images/{index}.png"), image)
        label[label == 11] = 255
        cv2.imwrite(str(tmp_path / f"input/labels/{index}.png"), label)
    (tmp_path / "input/images/3.png").write_bytes(b"damaged")
    return tmp_path / "input"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


def test_a_folder_leaves_masks_overlays_and_a_summary(
    folder: Path, model: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    result = run(folder, "--output", tmp_path / "out", "--model", model, "--device", "cpu")
    assert result.exit_code == 0, result.output
    names = ["0", "1", "2", "4"]
    assert sorted(p.stem for p in (tmp_path / "out/masks").iterdir()) == names
    assert sorted(p.stem for p in (tmp_path / "out/overlays").iterdir()) == names
    assert not (tmp_path / "out/overlay.mp4").exists()

    shares = np.zeros(11)
    correct = known = 0
    for frame in open_frames_of_model(folder, segmenter.classes, "small"):
        mask = cv2.imread(str(tmp_path / f"out/masks/{frame.name}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, segmenter.segment(frame.image).labels)
        overlay = cv2.imread(str(tmp_path / f"out/overlays/{frame.name}.jpg"))
        assert overlay.shape == (*SIZE, 3)
        shares += np.bincount(mask.ravel(), minlength=11)
        assert frame.label is not None
        correct += int((mask == frame.label).sum())
        known += int((frame.label != 255).sum())

    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["complete"] is True
    assert summary["frames"] == 4
    assert [Path(path).name for path in summary["skipped_files"]] == ["3.png"]
    assert list(summary["class_share"].values()) == pytest.approx(shares / shares.sum())
    assert summary["scores"]["pixel_accuracy"] == pytest.approx(correct / known)
    assert summary["stages_ms"]["total"]["p50"] > 0
    assert summary["settings"]["sampling"]["steps"] == 1


def test_the_fastest_backend_is_taken_and_named(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackendChoice, "known", lambda self: Candidate("torch", "fp32"))
    result = run(folder, "--output", tmp_path / "out", "--model", model, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "by torch in float32" in result.output
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["settings"]["model"]["backend"] == "torch"
    assert summary["settings"]["model"]["dtype"] == "float32"


def test_masks_of_settings_that_nobody_knows_are_not_touched(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "out" / "masks" / "0.png"
    mask.parent.mkdir(parents=True)
    cv2.imwrite(str(mask), np.zeros(SIZE, np.uint8))
    before = mask.read_bytes()
    result = run(folder, "--output", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert f"'{mask.parent}' is of a run without" in result.output.replace("\n", "")
    assert mask.read_bytes() == before


def test_images_whose_names_are_no_utf8_are_gone_on_with(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"stra\xdfe.png")
    (folder / "images" / "0.png").rename(folder / "images" / name)
    for _ in range(2):
        result = run(folder / "images", "--output", tmp_path / "out", "--model", model)
        assert result.exit_code == 0, result.output
        assert (tmp_path / "out" / "masks" / name).is_file()
        (tmp_path / "out" / "masks" / "1.png").unlink()


def test_a_video_also_gives_an_overlay_video(model: Path, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 12.0, SIZE[::-1]
    )
    for level in range(0, 250, 50):
        writer.write(np.full((*SIZE, 3), level, np.uint8))
    writer.release()
    result = run(
        tmp_path / "drive.mp4", "--output", tmp_path / "out", "--model", model, "--frames", 3
    )
    assert result.exit_code == 0, result.output
    overlay = open_frames(tmp_path / "out/overlay.mp4")
    assert (len(list(overlay)), overlay.fps, overlay.size) == (3, 12.0, SIZE)
    assert json.loads((tmp_path / "out/summary.json").read_text())["scores"] is None


class Interrupted(FrameSource):
    """A source that fails after some frames, as a kill would."""

    def __init__(self, source: FrameSource, after: int) -> None:
        super().__init__()
        self._source, self._after = source, after

    @property
    def size(self) -> tuple[int, int]:
        return self._source.size

    def __iter__(self) -> Iterator[Frame]:
        yield from itertools.islice(self._source, self._after)
        raise KeyboardInterrupt


def test_a_stopped_run_goes_on_where_it_was(
    folder: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    source, output = open_frames_of_model(folder, segmenter.classes, "small"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        segment_files(segmenter, Interrupted(source, 2), output, {"seed": 0})
    assert json.loads((output / "summary.json").read_text())["complete"] is False
    written = {path: path.stat().st_mtime_ns for path in (output / "masks").iterdir()}
    assert len(written) == 2
    # Killed while it wrote the next one.
    (output / "masks" / ".2.png.partial").write_bytes(b"half")

    summary = segment_files(segmenter, source, output, {"seed": 0})
    assert (summary["frames"], summary["frames_from_an_earlier_run"]) == (4, 2)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    whole = segment_files(segmenter, source, tmp_path / "whole", {"seed": 0})
    assert summary["class_share"] == whole["class_share"]
    assert summary["scores"] == whole["scores"]


def test_one_run_at_a_time_writes_to_a_folder(
    folder: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    source, output = open_frames_of_model(folder, segmenter.classes, "small"), tmp_path / "out"
    with locked(output), pytest.raises(OSError, match=r"another process is writing to '.*/out'"):
        segment_files(segmenter, source, output, {"seed": 0})


def test_results_of_other_settings_are_not_mixed(
    folder: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    source, output = open_frames_of_model(folder, segmenter.classes, "small"), tmp_path / "out"
    segment_files(segmenter, source, output, {"steps": 4, "seed": 0})
    with pytest.raises(OutputMismatchError, match="steps 4 there, 8 now"):
        segment_files(segmenter, source, output, {"steps": 8, "seed": 0})
    (output / "summary.json").write_text("[]")
    with pytest.raises(OutputMismatchError, match="another output folder"):
        segment_files(segmenter, source, output, {"steps": 4, "seed": 0})


def test_another_input_or_model_in_the_old_place_is_refused(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    arguments = (folder, "--output", tmp_path / "out", "--model", own, "--device", "cpu")
    assert run(*arguments).exit_code == 0
    again = run(*arguments)
    assert again.exit_code == 0
    assert (
        json.loads((tmp_path / "out/summary.json").read_text())["frames_from_an_earlier_run"] == 4
    )

    image = folder / "images/0.png"
    kept, times = image.read_bytes(), image.stat()
    image.write_bytes(kept[::-1])  # as long as the one before
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "input_fingerprint" in refused.output
    image.write_bytes(kept)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run(*arguments).exit_code == 0

    save_small_model(own, seed=1)
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "model sha256" in refused.output


def test_what_is_missing_of_a_video_is_told(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, fps=10) as video:
        for _ in range(20):
            video.write(rng.integers(0, 255, (*SIZE, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    result = run(path, "--output", tmp_path / "out", "--model", model, "--device", "cpu")
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["frames"] + summary["missing_frames"] == 20
    assert summary["missing_frames"] > 3
    assert "it ends at" in summary["damage"][0]
    assert f"{summary['missing_frames']} frames of the video are missing" in result.output


def test_what_cannot_be_done_is_said_in_one_line(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"damaged")
    cases = [
        (("synthetic", "--model", "/no/model"), "/no/model"),
        (("synthetic", "--steps", "0"), "steps"),
        ((tmp_path / "broken",), "no frame"),
    ]
    for arguments, message in cases:
        options = ["--output", tmp_path / "out" / message.replace("/", "")]
        if "--model" not in arguments:
            options += ["--model", model]
        with caplog.at_level(logging.ERROR):
            result = run(*arguments, *options)
        assert result.exit_code == 1, arguments
        assert message in result.output
        assert "Traceback" not in result.output
