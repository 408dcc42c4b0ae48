"""`camss-ros demo`: the nodes as processes, over DDS, and what happens when they fail."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from ros_peer import wait_until
from running_process import runs
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.frames import open_frames
from camss_ros.nodes.harness.child_process import ChildFailedError, ChildProcess

TIMEOUT = 240.0  # s; reached only when something is broken


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "camss_ros.cli", "demo", "--backend", "torch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_street_comes_back_segmented(small_model: Path, tmp_path: Path) -> None:
    demo = start(
        "--model", small_model, "--frames", 10, "--output", tmp_path / "demo", "--device", "cpu"
    )
    output, _ = demo.communicate(timeout=TIMEOUT)
    assert demo.returncode == 0, output
    for text in ("frames sent", "latency p50 / p95", "transformer", "pavement", "mIoU"):
        assert text in output

    report = json.loads((tmp_path / "demo/report.json").read_text())
    frames = report["frames"]
    assert frames["sent"] == 10
    assert frames["received"] + frames["lost_on_the_way"] == 10
    assert frames["segmented"] + frames["dropped"] == frames["received"]
    assert frames["segmented"] == frames["masks_matched"] > 0
    assert frames["masks_unmatched"] == 0
    assert (report["model"], report["device"]) == ("small", "cpu")
    assert report["sampling"] == {"steps": 1, "sampler": "ddim", "samples": 1}
    assert report["latency_ms"]["p50"] >= report["stages_ms"]["total"]["p50"] * 0.5
    assert report["scores"]["frames"] == frames["masks_matched"]

    assert len(list(open_frames(tmp_path / "demo/overlay.mp4"))) == frames["masks_matched"]
    assert next(iter(open_frames(tmp_path / "demo/contact_sheet.png"))).image.std() > 10
    world = next(iter(open_frames(tmp_path / "demo/world.png"))).image
    assert world.shape == (360, 480 + 480 + 360, 3)  # overlay, cloud, ground
    assert world[:, 480:960].std() > 10


def test_a_segmenter_that_does_not_get_ready_is_quoted(small_model: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(small_model, tmp_path / "damaged"))
    (damaged / "model.safetensors").write_bytes(b"damaged")
    demo = start("--model", damaged, "--output", tmp_path, "--device", "cpu", "--frames", 1)
    output, _ = demo.communicate(timeout=TIMEOUT)
    assert demo.returncode == 1
    assert "did not get ready" in output
    assert "cannot load model" in output, "its last output"
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_nodes_too(
    small_model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    demo = start("--model", small_model, "--output", tmp_path, "--device", "cpu", "--frames", 1)
    listing = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")

    def segmenter() -> Path | None:
        for child in listing.read_text().split():
            process = Path("/proc", child)
            with suppress(OSError):  # imports start processes, too, which end
                if "run_segmenter" in (process / "cmdline").read_text():
                    return process
        return None

    process = wait_until(segmenter, "the segmenter started", TIMEOUT)
    demo.send_signal(number)
    demo.communicate(timeout=TIMEOUT)
    if number == signal.SIGKILL:
        wait_until(lambda: not runs(process), "the end of the segmenter", 30)
        return
    assert demo.returncode not in (0, -number)
    assert not process.exists()


@pytest.mark.parametrize(("before", "code"), [("SIG_DFL", 128 + signal.SIGHUP), ("SIG_IGN", 0)])
def test_a_terminal_that_is_closed_ends_it_unless_below_nohup(before: str, code: int) -> None:
    program = f"""
import signal
from camss_ros.termination import DeferredSignals
signal.signal(signal.SIGHUP, signal.{before})
with DeferredSignals() as signals:
    signal.raise_signal(signal.SIGHUP)
    signals.check()"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == code


def test_an_input_that_is_missing_is_said_at_once(small_model: Path, tmp_path: Path) -> None:
    arguments = ["--model", small_model, "--output", tmp_path / "demo", "--input", "/nowhere.mp4"]
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)])
    assert result.exit_code == 1
    assert "/nowhere.mp4" in result.output
    assert not (tmp_path / "demo").exists()


def test_no_world_of_the_street_is_left_beside_the_report_on_another_input(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "world.png").write_bytes(b"of the street")
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((24, 32, 3), np.uint8))
    recording = SimpleNamespace(masks={0: None})
    monkeypatch.setattr("camss_ros.nodes.harness.demo.record_demo", lambda *_, **__: recording)
    monkeypatch.setattr("camss_ros.evaluation.demo_report.write_report", lambda *_: {})
    monkeypatch.setattr("camss_ros.evaluation.demo_report.report_table", lambda _: "")
    arguments = ["--model", small_model, "--output", tmp_path, "--input", tmp_path / "a.jpg"]
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "world.png").exists()


def child(tmp_path: Path, program: str) -> ChildProcess:
    (tmp_path / "a_child.py").write_text(program)
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    return ChildProcess("a_child", {"path": "12"}, {"PYTHONPATH": path}, tmp_path / "log")


def test_a_child_that_fails_is_quoted(tmp_path: Path) -> None:
    with child(tmp_path, "import sys; print('bad', sys.argv[1:]); sys.exit(3)") as process:
        wait_until(lambda: not process.running, "the end of the child")
        with pytest.raises(ChildFailedError, match=r"(?s)a_child ended with 3.*bad.*path:=\"12\""):
            process.check()


def test_a_child_that_is_killed_is_told(tmp_path: Path) -> None:
    with child(tmp_path, "import os; os.kill(os.getpid(), 11)") as process:
        wait_until(lambda: not process.running, "the end of the child")
        with pytest.raises(ChildFailedError, match="SIGSEGV"):
            process.check()


def test_a_child_of_a_killed_process_ends_even_if_it_ignores_sigint(tmp_path: Path) -> None:
    (tmp_path / "a_child.py").write_text(STUBBORN)
    code = f"""
from pathlib import Path
from camss_ros.nodes.harness.child_process import ChildProcess
child = ChildProcess("a_child", {{}}, {{}}, Path({str(tmp_path / "log")!r}))
child._process.wait()"""
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    wait_until((tmp_path / "log").exists, "the child started")
    wait_until((tmp_path / "log").read_text, "the child ready")
    process = Path("/proc", (tmp_path / "log").read_text().strip())
    assert runs(process)
    parent.kill()
    parent.wait()
    wait_until(lambda: not runs(process), "the end of the child")


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(os.getpid())
time.sleep(600)
"""


def test_a_child_that_ignores_sigint_is_stopped_all_the_same(tmp_path: Path) -> None:
    process = child(tmp_path, STUBBORN)
    wait_until(lambda: (tmp_path / "log").read_bytes(), "the child ready")
    process.check()
    began = time.monotonic()
    process.stop()
    assert not process.running
    assert time.monotonic() - began < 60
