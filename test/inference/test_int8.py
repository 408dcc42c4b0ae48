"""Graphs in int8: calibrated, compared with PyTorch, kept in the cache; and what is refused."""

import re
import sys
import tempfile
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.inference.auto import BackendChoice
from camss_ros.inference.backends import build_graph, openvino_runtime, verify_graph
from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.graphs import quantize
from camss_ros.inference.graphs.cache import cache_directory
from camss_ros.inference.graphs.calibration import calibration_file, read_calibration
from camss_ros.inference.graphs.export import ExportError, GraphSpec
from camss_ros.inference.graphs.quantize import FLOAT_LAYERS
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.schedule import SamplingOptions
from camss_ros.street.calibration_scenes import CalibrationScenes
from camss_ros.street.synthetic import random_scene

pytest.importorskip("onnx")
openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")

CPU = torch.device("cpu")
NOISY = SamplingOptions(steps=2, sampler="ddpm", temperature=0.8, samples=2)


def scene(seed: int) -> np.ndarray:
    return random_scene(seed, 64, 96)[0]


class SmallScenes:
    """Eight of them: six calibrate, two show the result."""

    name = "small scenes"

    def __iter__(self):
        return map(scene, range(8))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Of the small ones the one whose labels bear rounding."""
    return save_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def segmenter(model):
    """In int8. Its first graph has noise, samples and another size; that is built only once."""
    try:
        opened = Segmenter(
            model, device="cpu", backend="openvino", precision="int8", sampling=NOISY,
            calibration=SmallScenes(),
        )  # fmt: skip
    except ValueError as error:  # this processor has no int8
        pytest.skip(str(error))
    opened.warm_up(64, 96)
    yield opened
    opened.close()


def agreement(one, other) -> float:
    return float((one.labels == other.labels).mean())


def test_labels_with_noise_and_samples_are_nearly_those_of_float32(segmenter, model):
    expected = Segmenter(model, device="cpu", precision="fp32", sampling=NOISY)
    for seed in (50, 51):
        result, wanted = segmenter.segment(scene(seed)), expected.segment(scene(seed))
        assert "network" in result.timings
        assert agreement(result, wanted) > verify_graph.LIMITS[torch.int8]
        difference = result.confidence.astype(int) - wanted.confidence
        assert 0 < np.abs(difference).mean() < 3
    assert (segmenter.backend, segmenter.dtype) == ("openvino", torch.int8)


def test_it_is_in_the_cache_beside_the_graphs_of_other_precisions(segmenter, model):
    def blobs() -> set[Path]:
        return set(cache_directory().glob("openvino-*.blob"))

    arguments = {"device": "cpu", "backend": "openvino", "sampling": NOISY}
    before = blobs()
    assert list(cache_directory().glob("int8-*.zip"))  # what has been calibrated
    again = Segmenter(model, precision="int8", calibration=SmallScenes(), **arguments)
    again.warm_up(64, 96)
    assert blobs() == before
    assert np.array_equal(again.segment(scene(60)).labels, segmenter.segment(scene(60)).labels)
    other = Segmenter(model, precision="auto", **arguments)
    other.warm_up(64, 96)
    assert len(blobs()) == len(before) + 1
    again.close()
    other.close()


def test_its_parts_are_written_where_a_process_beside_clears_up(tmp_path, monkeypatch):
    """Not into the cache, where they would stay if it ended meanwhile."""
    folders = []

    def save(model, path):
        folders.append(path.parent.parent)
        for part in (path, path.with_suffix(".bin")):
            part.touch()

    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(quantize, "save_openvino", save)
    quantize.write_archive(None, tmp_path / "cache" / "graph.zip")
    assert folders == [tmp_path]


def test_a_network_that_int8_changes_too_much_is_refused_with_the_number(model, monkeypatch):
    """With nothing quantised: only the limit is out of reach."""
    monkeypatch.setattr(build_graph, "quantize", lambda graph, _: openvino.Core().read_model(graph))
    monkeypatch.setitem(verify_graph.LIMITS, torch.int8, 1.01)
    spec = GraphSpec((32, 48), SamplingOptions(steps=1))
    calibration = calibration_file(SmallScenes())
    with pytest.raises(ExportError, match=r"too much: \d+\.\d+ % of the labels.*bf16 or fp32"):
        build_graph.cached_int8_graph(model, "unique", spec, calibration)
    assert not [path for path in cache_directory().iterdir() if path.name.startswith(".partial")]


def test_frames_are_held_out_of_the_calibration():
    frames, held_out = read_calibration(calibration_file(SmallScenes()))
    assert (len(frames), len(held_out)) == (6, 2)
    for frame in held_out:
        assert not any(np.array_equal(frame, other) for other in frames)


def test_a_single_frame_is_calibrated_and_compared_on(tmp_path):
    np.savez(tmp_path / "one.npz", scene(0))
    for frames in read_calibration(tmp_path / "one.npz"):
        (frame,) = frames
        assert np.array_equal(frame, scene(0))


def test_the_scenes_are_pictures_that_export_does_not_compare_on():
    first, second = islice(CalibrationScenes(), 2)
    assert (first.dtype, first.shape) == (np.uint8, (360, 480, 3))
    assert not np.array_equal(first, second)
    assert not any(np.array_equal(first, random_scene(seed)[0]) for seed in range(2))


@pytest.mark.parametrize("backend", ["torch", "compile", "onnxruntime"])
def test_other_backends_have_no_int8(model, backend):
    if backend == "onnxruntime":
        pytest.importorskip(backend)
    with pytest.raises(ValueError, match="int8"):
        Segmenter(model, device="cpu", backend=backend, precision="int8", calibration=SmallScenes())


def test_backend_auto_takes_the_only_one_that_has_it(model):
    choice = BackendChoice(model, CPU, "int8", (32, 48), NOISY)
    assert str(choice.choose()) == "openvino int8"


@pytest.mark.parametrize(
    ("capabilities", "device", "nncf_is_there", "message"),
    [
        (["FP32", "INT8"], "cpu", False, "pip install nncf"),
        (["FP32", "BF16"], "cpu", True, "processor has no int8"),
        (["FP32", "INT8"], "cuda", True, "runs on device cpu, not on cuda"),
    ],
)
def test_what_int8_needs_is_named(capabilities, device, nncf_is_there, message, monkeypatch):
    class Core:
        def get_property(self, *_):
            return capabilities

    monkeypatch.setattr(openvino, "Core", Core)
    if not nncf_is_there:
        monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ValueError, match=message):
        openvino_runtime.OpenVino(torch.device(device), "int8")


def test_without_frames_to_calibrate_on_it_says_where_they_are(model):
    with pytest.raises(ValueError, match=r"calibration=CalibrationScenes\(\)"):
        Segmenter(model, device="cpu", backend="openvino", precision="int8")


def test_a_missing_package_is_a_backend_that_is_not_available(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(BackendUnavailableError, match="nncf"):
        Segmenter(model, device="cpu", backend="auto", precision="int8", calibration=SmallScenes())


def export(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_the_command_calibrates_on_own_images(model, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(3):
        cv2.imwrite(str(images / f"{seed}.png"), cv2.cvtColor(scene(seed), cv2.COLOR_RGB2BGR))
    output = tmp_path / "small.xml"
    result = export(
        "--model", model, "--output", output, "--steps", 2, "--images", images, "--frames", 1,
        "--format", "openvino", "--precision", "int8", "--calibrate", images,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "of the labels of 1 frames" in " ".join(result.output.split())
    assert output.with_suffix(".bin").exists()
    check_float_layers(openvino.Core().read_model(output))


def check_float_layers(graph: openvino.Model) -> None:
    """What would cost points is not quantised, and is there: the denoiser of every step, what it
    is conditioned on, and the layers that the classes are read off."""

    def is_quantizer(node: openvino.Node) -> bool:
        return node.get_type_name() == "FakeQuantize"

    assert any(map(is_quantizer, graph.get_ops()))
    kept = set()
    for node in graph.get_ops():
        name = node.get_friendly_name()
        if any(re.fullmatch(pattern, name) for pattern in FLOAT_LAYERS):
            sources = [value.get_source_output().get_node() for value in node.inputs()]
            assert not any(map(is_quantizer, sources)), name
            kept.add(name.split("/")[1])
    assert kept == {"denoiser", "denoiser_1", "cond_embed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.onnx", "--precision", "int8"], "has no precision int8"),
        (["--output", "a.onnx", "--calibrate", "images"], "--calibrate is for"),
        (
            ["--output", "a.xml", "--format", "openvino", "--precision", "int8",
             "--calibrate", "nowhere"],
            "nowhere",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(model, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = export("--model", model, "--frames", 1, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert list(tmp_path.iterdir()) == []
