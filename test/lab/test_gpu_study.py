"""The study of a GPU, with its parts on the CPU and small models: time, what is kept, the page."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab import gpu_page, gpu_parts, gpu_study
from camss_ros.lab.frame_launches import (
    KINDS,
    count_calls,
    count_names,
    longest_operations,
)
from camss_ros.lab.frames import street_frames
from camss_ros.lab.gpu_page import median_times, plot_times, write_gpu_page
from camss_ros.lab.gpu_parts import PARTS, GpuSettings, Part
from camss_ros.lab.gpu_study import run_part, study_gpu
from camss_ros.lab.study_output import save_figure

CAMVID = load_label_set("camvid11")


@pytest.fixture(scope="module")
def settings(small_model) -> GpuSettings:
    model = str(small_model)
    return GpuSettings(
        model=model, size=(48, 80), base=model, device="cpu",
        label_frames=2, timed_frames=2, largest_batch=2,
    )  # fmt: skip


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def study(settings, tmp_path, monkeypatch):
    """Studies parts whose commands are Python code."""
    commands = {}
    monkeypatch.setattr(gpu_study, "command", lambda key, _: script(commands[key]))

    def run(seconds: float = 60.0, least: float = 0.0, **codes: str) -> dict[str, str]:
        commands.update(codes)
        parts = {key: Part(f"Part {key}", least, lambda _: {}) for key in codes}
        return study_gpu(settings, tmp_path, seconds, "camss-ros study gpu", parts=parts)

    return run


LABELS = {"backend": "torch", "frames": 2, "agreement": {"bf16": {"mean": 0.999, "min": 0.9}}}
PRINT_LABELS = f"print('noise'); print({json.dumps(json.dumps(LABELS))})"


def test_a_part_that_fails_or_hangs_costs_no_other_one(study, tmp_path, capfd):
    error = """
try:
    raise ValueError("no such kernel")
except ValueError:
    raise RuntimeError("CUDA error\\n\\nCompile with `TORCH_USE_CUDA_DSA` to know more.\\n")
"""
    missing = study(first=error, second=PRINT_LABELS)
    assert missing == {"Part first": "failed: RuntimeError: CUDA error"}
    assert "no such kernel" in capfd.readouterr().err
    page = (tmp_path / "gpu.md").read_text()
    assert "99.900 %" in page
    assert "RuntimeError: CUDA error" in page
    start = time.monotonic()
    missing = study(seconds=11.0, second=PRINT_LABELS, third="import time; time.sleep(600)")
    assert time.monotonic() - start < 11.0
    assert missing["Part third"].startswith("not done after")
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["rows"] == {"second": LABELS}
    assert not content["complete"]


def test_what_a_part_began_ends_with_it(study):
    """As compilers of `torch.compile` do, which hear of no signal and have the part's pipes."""
    compiler = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    start = time.monotonic()
    missing = study(
        seconds=10.0,
        only=f"import subprocess, sys; subprocess.run([sys.executable, '-c', {compiler!r}])",
    )
    assert missing["Part only"].startswith("not done after")
    assert time.monotonic() - start < 10.0


def test_what_there_is_no_time_for_is_named_and_measured_the_next_time(
    study, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(gpu_study, "time", SimpleNamespace(monotonic=lambda: 303.0))
        assert study(least=100.0, only=PRINT_LABELS) == {"Part only": "needs 100 s, 52 were left"}
    assert study(only=PRINT_LABELS) == {}
    assert study(only="raise RuntimeError('measured again')") == {}
    assert json.loads((tmp_path / "gpu.json").read_text())["complete"]


def test_an_interrupted_study_ends_its_part_and_keeps_what_it_has(tmp_path):
    """Ctrl-C, in a process of its own."""
    flag = tmp_path / "begun"
    part = f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    code = f"""
import sys
from camss_ros.lab import gpu_study
from camss_ros.lab.gpu_parts import GpuSettings, Part
codes = {{"a": {PRINT_LABELS!r}, "b": {part!r}}}
gpu_study.command = lambda key, _: [sys.executable, "-c", codes[key]]
parts = {{key: Part(key, 0, None) for key in codes}}
from pathlib import Path
gpu_study.study_gpu(GpuSettings(device="cpu"), Path({str(tmp_path)!r}), 60, "x", parts=parts)
"""
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *script(code)], stderr=subprocess.DEVNULL
    )
    while not flag.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) != 0
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == {"a": LABELS}
    assert "the study was stopped" in (tmp_path / "gpu.md").read_text()


def test_parts_are_measured_in_a_process_of_their_own(settings):
    row = run_part(gpu_study.command("labels", settings), 120)
    assert isinstance(row, dict), row
    assert row["agreement"]["fp32"] == {"mean": 1.0, "min": 1.0}
    assert row["warnings"] == []


def test_what_a_part_warns_of_is_shown(settings, monkeypatch, capsys, tmp_path):
    """Such as that there is no graph, whose time it then is not."""

    def measure(_):
        for _ in range(2):
            logging.getLogger("camss_ros.inference").warning("no CUDA graph of a frame")
        return dict(LABELS)

    monkeypatch.setattr(logging.getLogger("camss_ros"), "handlers", [])
    monkeypatch.setattr(gpu_parts, "exit_on_signals", lambda: None)
    monkeypatch.setitem(PARTS, "labels", replace(PARTS["labels"], measure=measure))
    gpu_parts.main("labels", json.dumps(asdict(settings)))
    row = json.loads(capsys.readouterr().out)
    write_gpu_page(tmp_path / "gpu.md", {"labels": row}, {}, PARTS, {}, "camss-ros study gpu")
    assert (tmp_path / "gpu.md").read_text().count("Warning: no CUDA graph of a frame.") == 1


def test_parts_are_measured_and_shown(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("camss_ros.lab.segmenter_speed.matmul_peak", lambda *_: 1e12)
    rows = {key: PARTS[key].measure(settings) for key in ("small", "calls", "batches")}
    assert rows["small"]["whole"]["frames"] == 2
    assert rows["small"]["whole"]["working_size"] == [48, 80]
    assert 0 < len(rows["small"]["longest"]) <= 12
    assert list(rows["batches"]["batches"]) == ["1", "2"]
    path = tmp_path / "gpu.md"
    write_gpu_page(path, rows, {"The node": "no time"}, PARTS, {"gpu": "none"}, "camss-ros")
    page = path.read_text()
    for text in (
        "## A frame of the small model",
        "operators",
        "whole frame",
        "one graph",
        "- The node: no time",
    ):
        assert text in page
    assert "None" not in page


def test_page_and_picture_compare_with_the_official_procedure(tmp_path):
    times = {"p50": 10.0, "p95": 11.0}
    speed = {
        "model": "base", "backend": "torch", "dtype": "bfloat16", "frames": 3,
        "working_size": [16, 32], "sampling": {"steps": 4}, "stages_ms": {"decode": times},
        "whole_ms": times, "peak_memory": {"cuda_mb": 100.0}, "matmul_peak_gflops": 7e5,
        "share_of_matmul_peak": {"decode": 0.25, "total": 0.5},
    }  # fmt: skip
    official = {
        "official": {"steps": 100, "stages_ms": {"total": {"p50": 1431.0}}},
        "ratio": {"median": 47.7, "min": 45.6, "max": 49.9},
    }
    longest = [{"name": "void cudnn::" + 100 * "x", "calls": 7, "ms": 1.5}]
    row = {"stages": speed, "whole": speed, "official": official, "longest": longest}
    write_gpu_page(tmp_path / "gpu.md", {"base": row}, {}, PARTS, {}, "camss-ros study gpu")
    page = (tmp_path / "gpu.md").read_text()
    plot_times(median_times({"base": row}), tmp_path / "gpu.png")
    assert (tmp_path / "gpu.png").stat().st_size > 1000
    texts = "gpu.png", "10.00 / 11.00", "1431 ms", "47.7 times", "700.0 TFLOP/s", "25 %", "100 MB"
    for text in texts:
        assert text in " ".join(page.split())
    assert f"| `void cudnn::{68 * 'x'}` | 7 | 1.50 |" in page


def test_the_time_beside_each_bar_is_within_the_picture(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(gpu_page, "save_figure", lambda figure, path: drawn.append(figure))
    plot_times({"one graph": 1.74, "official procedure": 1409.74}, tmp_path / "gpu.png")
    (figure,) = drawn
    save_figure(figure, tmp_path / "gpu.png")  # which places everything
    (axes,) = figure.axes
    for text in axes.texts:
        assert text.get_window_extent().x1 <= axes.get_window_extent().x1


def test_without_a_gpu_it_says_what_it_needs(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = CliRunner().invoke(app, ["study", "gpu", "--output", str(tmp_path / "out")])
    assert result.exit_code != 0
    assert "sees no CUDA GPU" in " ".join(result.output.split())
    result = CliRunner().invoke(app, ["study", "gpu", "--device", "cpu", "--output", str(tmp_path)])
    assert result.exit_code != 0
    assert "expected cuda or cuda:N" in " ".join(result.output.split())


def test_operators_of_a_frame_are_counted(settings):
    segmenter = Segmenter(settings.model, device="cpu")
    (frame,) = street_frames(segmenter.input_size, 1)
    counts = count_calls(segmenter, frame)
    assert list(counts) == list(KINDS)
    assert counts["operators"] > 50
    more = Segmenter(settings.model, device="cpu", sampling=replace(segmenter.sampling, steps=4))
    assert count_calls(more, frame)["operators"] > counts["operators"]
    assert sum(counts.values()) == counts["operators"]


def test_what_takes_longest_comes_first():
    large, small = torch.rand(500, 500), torch.rand(5)

    def segment(_):
        for _ in range(3):
            torch.matmul(large, large)  # calls mm, which takes the time
        small.exp()

    segmenter = SimpleNamespace(device=torch.device("cpu"), segment=segment)
    first, *others = longest_operations(segmenter, np.zeros((2, 2, 3), np.uint8))
    assert (first["name"], first["calls"]) == ("aten::mm", 3)
    assert first["ms"] > 0
    assert {"aten::matmul", "aten::exp"} <= {each["name"] for each in others}


def test_calls_of_cuda_are_told_apart():
    names = [
        "aten::view", "aten::mm", "cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx",
        "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemcpyAsync", "Memcpy HtoD (Pinned -> Device)",
        "Memcpy DtoH (Device -> Pinned)", "Memcpy DtoD (Device -> Device)", "cudaMemsetAsync",
        "cudaEventSynchronize", "cudaEventRecord", "void at::native::elementwise_kernel",
    ]  # fmt: skip
    assert count_names(names) == {
        "operators": 1, "graph launches": 1, "kernel launches": 3, "copies": 2, "fills": 1,
        "waits": 1, "uploads": 1, "downloads": 1,
    }  # fmt: skip
