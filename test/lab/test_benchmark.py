"""`camss-ros benchmark` on a small model, and what it is made of."""

import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.encodings import image_to_rgb
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab import official_section, segmenter_speed
from camss_ros.lab.frames import camera_images, street_frames
from camss_ros.lab.official_section import compare_with_official
from camss_ros.lab.random_weights import random_config, random_weights
from camss_ros.lab.segmenter_speed import matmul_peak, peak_memory, reset_peak
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError, load_pretrained, weights_hash
from camss_ros.model.flops import count_macs
from camss_ros.model.official import base_config
from camss_ros.resident_memory import resident_bytes

CPU = torch.device("cpu")


def run(*arguments):
    result = CliRunner().invoke(app, ["benchmark", "--device", "cpu", *map(str, arguments)])
    return result.exit_code, result.output


def test_command_measures_stages_memory_and_work(small_model, tmp_path):
    code, output = run(
        "--model", small_model, "--backend", "torch", "--precision", "fp32", "--steps", 3,
        "--size", "120x80", "--frames", 6, "--calls", "--json", tmp_path / "speed.json",
    )  # fmt: skip
    assert code == 0, output
    for word in ("transformer", "whole", "GMAC", "matmul peak", "operators"):
        assert word in output
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["frame_size"] == [80, 120]
    assert content["working_size"] == [64, 96]
    assert (content["backend"], content["dtype"]) == ("torch", "float32")
    assert content["sampling"]["steps"] == 3
    stages = content["stages_ms"]
    assert list(stages) == [
        "convert", "preprocess", "tokens", "transformer", "sampling", "decode", "postprocess",
        "total",
    ]  # fmt: skip
    for times in (*stages.values(), content["whole_ms"]):
        assert 0 < times["p50"] <= times["p95"]
    assert max(t["p50"] for t in stages.values()) <= stages["total"]["p95"]
    assert content["whole_ms"]["mean"] >= stages["total"]["mean"] + stages["convert"]["mean"]
    assert 50 < content["peak_memory"]["resident_mb"] < 1e5
    config = load_pretrained(small_model).config
    macs = count_macs(config, Segmenter(small_model, device="cpu").sampling, (64, 96))
    assert content["gmac"]["image_tokens"] == pytest.approx(macs["image_tokens"] / 1e9)
    shares = content["share_of_matmul_peak"]
    assert set(shares) == {"tokens", "transformer", "sampling", "decode", "total"}
    assert all(0 < share < 1 for share in shares.values())
    assert content["machine"]["cpus"] >= 1
    assert "versus_official" not in content


def test_command_compares_with_the_official_procedure(official_model, tmp_path, monkeypatch):
    official, command = compare_with_official, "camss_ros.lab.official_section"

    def with_few_steps(*arguments, **options):
        return official(*arguments, **options, steps=5)

    monkeypatch.setattr(f"{command}.compare_with_official", with_few_steps)
    monkeypatch.setattr("camss_ros.lab.segmenter_speed.matmul_peak", lambda *_: 1e12)
    code, output = run(
        "--model", official_model, "--backend", "torch", "--precision", "fp32", "--frames", 2,
        "--versus", "official", "--turns", 2, "--json", tmp_path / "speed.json",
    )  # fmt: skip
    assert code == 0, output
    assert "times as fast, 2 turns" in output
    versus = json.loads((tmp_path / "speed.json").read_text())["versus_official"]
    assert versus["size"] == [16, 16]
    assert versus["official"]["steps"] == 5
    assert {"tokens", "transformer", "sampling", "decode", "total"} <= set(
        versus["official"]["stages_ms"]
    )
    ratio = versus["ratio"]
    assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]


def test_both_sides_take_turns(official_model, monkeypatch):
    calls = []

    class Official(official_section.OfficialProcedure):
        def segment(self, image, noise=None):
            calls.append("official")
            return super().segment(image, noise)

    timed = official_section.time_frames

    def ours(*arguments):
        calls.append("ours")
        return timed(*arguments)

    monkeypatch.setattr(official_section, "OfficialProcedure", Official)
    monkeypatch.setattr(official_section, "time_frames", ours)
    segmenter = Segmenter(official_model, device="cpu", precision="fp32")
    turned = []
    compare_with_official(segmenter, official_model, 3, lambda: turned.append(1), steps=2)
    assert calls == ["ours", *["official", "ours"] * 3], "the first warms up"
    assert len(turned) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "huge"), "expected WIDTHxHEIGHT"),
        (("--steps", "0"), "steps"),
        (("--versus", "theirs"), "expected official"),
        (("--model", "no_such_model"), "no_such_model"),
        (("--random-weights", "--model", "cam-seg-base", "--size", "250x250"), "multiples of 16"),
        (("--versus", "official"), "camss-tiny is no cam-seg-base"),
    ],
)
def test_bad_requests_are_refused(arguments, message, monkeypatch):
    monkeypatch.setattr("camss_ros.lab.segmenter_speed.time_frames", None)  # nothing is timed
    code, output = run(*arguments)
    assert code == 1
    assert message in output


def test_random_weights_of_the_official_model_need_no_file():
    config = random_config("cam-seg-base", (256, 256))
    assert config.input_size == (256, 256)
    with torch.device("meta"):
        network = CamSeg(config)
    assert network.transformer.grid == (16, 16)
    assert replace(config, input_size=(768, 768)) == base_config()
    with pytest.raises(ModelError, match="no_such_model"):
        random_config("no_such_model", None)


def test_random_weights_are_the_same_each_time_and_leave_nothing(small_model):
    state = torch.get_rng_state()
    hashes = set()
    for _ in range(2):
        with random_weights(str(small_model), (32, 48)) as directory:
            hashes.add(weights_hash(directory))
            network = load_pretrained(directory)
            assert network.config.input_size == (32, 48)
            assert network.denoiser.final_layer.linear.weight.std() > 0
        assert not directory.exists()
    assert len(hashes) == 1
    assert torch.equal(state, torch.get_rng_state())


def test_messages_hold_the_frames():
    frames = street_frames((90, 160), 2)
    assert [frame.shape for frame in frames] == [(90, 160, 3)] * 2
    assert (frames[0] != frames[1]).any()
    for frame, image in zip(frames, camera_images(frames), strict=True):
        np.testing.assert_array_equal(image_to_rgb(image), frame)


def test_peak_memory_is_that_since_its_reset():
    ballast = np.ones(200_000_000, np.uint8)
    reset_peak(CPU)
    with_ballast = peak_memory(CPU)["resident_mb"]
    assert with_ballast >= 200
    assert ballast[-1] == 1
    del ballast
    reset_peak(CPU)
    assert peak_memory(CPU)["resident_mb"] < with_ballast - 150
    assert resident_bytes() <= resident_bytes(peak=True)


def test_products_are_timed_while_their_gpu_is_the_one_that_is_waited_for(monkeypatch):
    gpu, current = torch.device("cuda:1"), []

    @contextmanager
    def on(device):
        current.append(device)
        yield
        current.pop()

    class Timed:
        def __init__(self, *_, **__):
            pass

        def timeit(self, _):
            assert current == [gpu]
            return SimpleNamespace(mean=1e-3)

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch, "randn", lambda *shape, device: torch.zeros(shape))
    monkeypatch.setattr(torch, "empty", lambda *shape, device, dtype: torch.zeros(shape))
    monkeypatch.setattr(segmenter_speed, "Timer", Timed)
    assert matmul_peak(gpu, torch.float32, 100) == pytest.approx(2e9)


def test_matmul_peak_is_plausible():
    assert 1e8 < matmul_peak(CPU, torch.float32, 256) < 1e14
