"""The size in the network: the model's own, or the one asked for."""

import functools
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.network_size import STRIDE, can_resize, checked_size
from camss_ros.inference.segmenter import FrameRequest, Segmenter
from camss_ros.model.config import CamSegConfig, ConcatTransformerConfig

OWN = CamSegConfig("small", load_label_set("camvid11").classes, input_size=(32, 48))
SIDES = st.integers(-100, 4096)


@given(SIDES, SIDES)
def test_every_size_is_taken_or_refused_with_one_that_is_taken(height, width):
    if height > 0 and width > 0 and height % STRIDE == 0 and width % STRIDE == 0:
        assert checked_size(OWN, (height, width)) == (height, width)
        return
    with pytest.raises(ValueError, match=f"network size {width} x {height}: ") as error:
        checked_size(OWN, (height, width))
    proposed_width, _, proposed_height = str(error.value).rpartition("such as ")[2].split()
    proposed = int(proposed_height), int(proposed_width)
    assert checked_size(OWN, proposed) == proposed


def test_the_models_own_size_is_the_default():
    assert checked_size(OWN, None) == (32, 48)


@pytest.mark.parametrize("asked", [[64, 80], (64.0, 80.0), np.array([64, 80])])
def test_sizes_of_files_and_of_numpy_are_sizes_too(asked):
    size = checked_size(OWN, asked)
    assert size == (64, 80)
    assert [type(side) for side in size] == [int, int]


def test_a_model_with_positions_of_one_size_keeps_it():
    config = replace(OWN, name="official", transformer=ConcatTransformerConfig(32, 1, 2, 2))
    assert not can_resize(config)
    assert checked_size(config, (32, 48)) == (32, 48)
    with pytest.raises(ValueError, match="official works at 48 x 32 only"):
        checked_size(config, (48, 48))


def test_a_segmenter_runs_at_the_size_asked_for(small_model):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    small = Segmenter(small_model, device="cpu", network_size=(32, 48))
    assert small.input_size == (32, 48)
    other = Segmenter(small_model, device="cpu")
    own = other.segment(image)
    (asked,) = other.segment_batch([FrameRequest(image, network_size=(32, 48))])
    result = small.segment(image)
    assert np.array_equal(result.confidence, asked.confidence)
    assert np.array_equal(own.confidence, other.segment(image).confidence)
    assert not np.array_equal(result.confidence, own.confidence)
    with pytest.raises(ValueError, match="multiples of 16, such as 48 x 32"):
        Segmenter(small_model, device="cpu", network_size=(30, 50))
    for refused in (
        lambda: other.segment_batch([FrameRequest(image, network_size=(30, 50))]),
        lambda: other.prepare(other.sampling, (30, 50)),
    ):
        with pytest.raises(ValueError, match="multiples of 16, such as 48 x 32"):
            refused()


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path):
    """Two labelled pictures of CamVid's layout."""
    rng = np.random.default_rng(0)
    for folder, shape in (("images", (40, 56, 3)), ("labels", (40, 56))):
        (tmp_path / "data/val" / folder).mkdir(parents=True)
        for name in "ab":
            picture = rng.integers(0, 11, shape, np.uint8)
            cv2.imwrite(str(tmp_path / "data/val" / folder / f"{name}.png"), picture)
    return tmp_path / "data"


def test_the_commands_take_it_and_say_it(small_model, data, tmp_path):
    options = ["--model", small_model, "--device", "cpu", "--network-size", "48x32"]
    result = run("evaluate", "--data", "camvid", "--root", data, *options,
                 "--json", tmp_path / "scores.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    result = run("segment", data / "val", "--output", tmp_path / "out", "--backend", "torch",
                 *options)  # fmt: skip
    assert result.exit_code == 0, result.output
    result = run("benchmark", "--backend", "torch", "--frames", 2, *options,
                 "--json", tmp_path / "speed.json")  # fmt: skip
    assert result.exit_code == 0, result.output

    def read(name):
        return json.loads((tmp_path / name).read_text())

    scores, summary = read("scores.json"), read("out/summary.json")
    assert (
        scores["model"]["network_size"] == summary["settings"]["model"]["network_size"] == [32, 48]
    )
    assert read("speed.json")["working_size"] == [32, 48]
    assert summary["scores"]["miou"] == pytest.approx(scores["miou"])


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--data", "camvid", "--root"),
        ("segment", "--output", "out"),
        ("benchmark", "--json"),
    ],
)
def test_a_size_of_no_tokens_is_refused_in_one_line(
    small_model, data, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    others = {"benchmark": tmp_path / "x.json", "segment": data / "val"}
    last = others.get(command[0], data)
    result = run(*command, last, "--model", small_model, "--network-size", "50x30")
    assert result.exit_code == 1
    assert "network size 50 x 30: expected multiples of 16" in result.output
    assert "Traceback" not in result.output


def test_a_second_size_is_compiled_too(small_model, monkeypatch):
    # what Dynamo makes of the network is run as it is: a compiler would take minutes
    compiled = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", compiled)
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    eager, segmenter = (
        Segmenter(small_model, device="cpu", precision="fp32", backend=backend)
        for backend in ("torch", "compile")
    )
    for size in ((32, 48), (48, 32)):
        request = FrameRequest(image, network_size=size)
        (expected,), (found,) = (each.segment_batch([request]) for each in (eager, segmenter))
        assert segmenter.backend == "compile"
        assert (found.labels == expected.labels).mean() > 0.99
