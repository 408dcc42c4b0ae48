"""Backend "auto": what is measured, what is chosen, what is remembered. No real timing."""

import json
import logging
import sys
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

from camss_ros.inference import auto
from camss_ros.inference.auto import BackendChoice, Candidate, candidates
from camss_ros.inference.backends.base import FramePrediction
from camss_ros.inference.backends.open_backend import open_backend
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.checkpoint import save_pretrained
from camss_ros.model.schedule import SamplingOptions

CPU = torch.device("cpu")
SIZE = (32, 48)
TORCH, OTHER = Candidate("torch", "fp32"), Candidate("openvino", "fp32")


@pytest.fixture
def model_directory(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(auto, "_chosen", {})
    auto._installed.cache_clear()
    save_pretrained(tiny_model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def two_candidates(monkeypatch):
    monkeypatch.setattr(auto, "candidates", lambda *_: [TORCH, OTHER])
    monkeypatch.setattr(auto, "_installed", lambda *_: True)


def choose(model, sampling=SamplingOptions()):
    return str(BackendChoice(model, CPU, "fp32", SIZE, sampling).choose())


def test_the_fastest_is_chosen_and_remembered(model_directory, two_candidates, monkeypatch):
    measured = []

    def times(choice):
        measured.append(choice.possible)
        return {TORCH: 0.2, OTHER: 0.1}

    monkeypatch.setattr(BackendChoice, "times", times)
    assert choose(model_directory) == "openvino fp32"
    assert choose(model_directory, SamplingOptions(steps=9)) == "openvino fp32"
    assert measured == [[TORCH, OTHER]]
    monkeypatch.setattr(auto, "versions", lambda *names: dict.fromkeys(names, "another"))
    choose(model_directory)
    assert len(measured) == 2
    for count, name in enumerate(("config.json", "model.safetensors"), start=3):
        with (model_directory / name).open("ab") as file:
            file.write(b" ")
        choose(model_directory)
        assert len(measured) == count


def test_a_damaged_memory_is_measured_again(model_directory, two_candidates, monkeypatch):
    monkeypatch.setattr(BackendChoice, "times", lambda _: {TORCH: 0.1})
    choose(model_directory)
    (memory,) = auto.cache_directory().glob("auto-*.json")
    memory.write_text('{"backend"')
    monkeypatch.setattr(BackendChoice, "times", lambda _: {OTHER: 0.1})
    auto._chosen.clear()  # as in a new process
    assert choose(model_directory) == "openvino fp32"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("onnx", "raise TypeError('Descriptors cannot be created directly')"),  # another protobuf
        ("onnxruntime", None),  # a folder is left of it
        ("openvino", "raise RuntimeError('Could not determine home directory.')"),
    ],
)
def test_a_package_that_is_broken_is_left_out(
    name, content, model_directory, tmp_path, monkeypatch, caplog
):
    place = tmp_path / "packages" / name
    place.mkdir(parents=True)
    if content is not None:
        (place / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(place.parent)
    if content is None:
        monkeypatch.setattr(sys, "path", [str(place.parent)])
    for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
    with caplog.at_level(logging.INFO, "camss_ros"):
        choice = BackendChoice(model_directory, CPU, "fp32", SIZE, SamplingOptions())
        backends = [each.backend for each in choice.possible]
    assert backends[0] == "torch"
    assert name not in backends
    assert "is left out" in caplog.text


def test_with_pytorch_alone_nothing_is_measured(model_directory, monkeypatch, caplog):
    for name in ("OnnxRuntime", "OpenVino"):
        module = {"OnnxRuntime": "onnxruntime", "OpenVino": "openvino"}[name]
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(BackendChoice, "times", lambda _: pytest.fail("measured"))
    with caplog.at_level(logging.INFO, "camss_ros"):
        segmenter = Segmenter(model_directory, device="cpu", precision="fp32", backend="auto")
    assert (segmenter.backend, segmenter.dtype) == ("torch", torch.float32)
    assert {record.levelname for record in caplog.records} == {"INFO"}
    assert "openvino is not installed" in caplog.text


def test_iterative_decoding_needs_no_graph(model_directory, two_candidates):
    assert choose(model_directory, SamplingOptions(iterations=2)) == "torch fp32"


class _Wrong:
    """Opens PyTorch in place of every other backend, with what goes wrong."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __call__(self, name, *arguments):
        backend = open_backend("torch", *arguments)
        if name != "torch":
            if self.error is not None:
                raise self.error
            correct = backend.predict

            def wrong(*arguments):
                return [FramePrediction(each.probabilities.flip(1)) for each in correct(*arguments)]

            backend.predict = wrong
        return backend


@pytest.mark.parametrize(
    ("error", "message"),
    [(RuntimeError("no such driver"), "no such driver"), (None, "agrees with PyTorch on")],
)
def test_a_backend_that_does_not_work_is_left_out(
    model_directory, two_candidates, monkeypatch, caplog, error, message
):
    monkeypatch.setattr(auto, "open_backend", _Wrong(error))
    options = SamplingOptions(steps=1)
    seconds = BackendChoice(model_directory, CPU, "fp32", SIZE, options).times()
    assert list(seconds) == [TORCH]
    assert seconds[TORCH] > 0
    assert message in caplog.text


def test_an_error_of_pytorch_is_not_hidden(model_directory, two_candidates):
    (model_directory / "model.safetensors").write_bytes(b"")
    with pytest.raises(RuntimeError, match="cannot be read"):
        BackendChoice(model_directory, CPU, "fp32", SIZE, SamplingOptions()).times()


def test_a_precision_that_was_asked_for_is_kept():
    assert {each.precision for each in candidates(CPU, "fp32")} == {"fp32"}
    assert {each.precision for each in candidates(CPU, "bf16")} == {"bf16"}


def test_what_is_measured_beside_is_taken_the_next_time(model_directory):
    arguments = {"device": "cpu", "precision": "fp32", "backend": "auto"}
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    first = Segmenter(model_directory, measure=False, **arguments)
    choice = first.unmeasured
    assert choice is not None
    assert (first.backend, choice.possible[0].backend) == ("torch", "torch")
    turns = []

    @contextmanager
    def turn():
        turns.append(first.segment(image))
        yield

    chosen = choice.measured_beside(choice.beside(), turn)
    assert len(turns) >= 2 * auto._FRAMES
    second = Segmenter(model_directory, measure=False, **arguments)
    assert second.unmeasured is None
    assert second.backend == chosen.backend
    assert (second.segment(image).labels == first.segment(image).labels).mean() > 0.999
    first.close()
    second.close()


class _Measured:
    """A process that has measured."""

    def result(self, turn):
        seconds = [[0, 0.2], [1, 0.1]]
        return json.dumps({"seconds": seconds, "warnings": ["backend x is left out"]})


def test_a_choice_that_cannot_be_kept_counts_for_this_process(
    model_directory, two_candidates, monkeypatch, caplog
):
    def fail(*_):
        raise OSError("read-only file system")

    monkeypatch.setattr(auto, "write_atomically", fail)
    choice = BackendChoice(model_directory, CPU, "fp32", SIZE, SamplingOptions())
    assert choice.known() is None
    assert choice.measured_beside(_Measured(), nullcontext) == OTHER
    again = BackendChoice(model_directory, CPU, "fp32", SIZE, SamplingOptions())
    assert again.known() == OTHER
    assert "read-only file system" in caplog.text
    assert "backend x is left out" in caplog.text
