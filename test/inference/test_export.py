"""Exported graphs, and the command that writes them."""

import copy
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.commands.export import _frames_of
from camss_ros.inference.backends import verify_graph as verification
from camss_ros.inference.backends.open_runtime import open_runtime
from camss_ros.inference.backends.verify_graph import verify_graph
from camss_ros.inference.graphs.export import OPSET, GraphSpec, export_onnx
from camss_ros.model.backbone import EfficientNetLite0
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import load_network
from camss_ros.model.config import ConcatTransformerConfig, DenoiserConfig
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig
from camss_ros.model.official import base_config
from camss_ros.model.schedule import SamplingOptions

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def official_network() -> CamSeg:
    """The official architecture at a small size: concatenated tokens, palette, void, variances."""
    torch.manual_seed(0)
    network = CamSeg(
        base_config(
            mask_autoencoder=ImageAutoencoderConfig(width=32, multipliers=(1, 1, 1), res_blocks=1,
                                               attention_levels=(2,)),
            transformer=ConcatTransformerConfig(32, 1, 1, 2),
            denoiser=DenoiserConfig(32, 1),
            input_size=(32, 32),
        )
    ).eval().requires_grad_(False)  # fmt: skip
    for parameter in network.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def pictures(count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (50, 60, 3), np.uint8) for _ in range(count)]


def verified(network: CamSeg, spec: GraphSpec, sampling: SamplingOptions, path: Path):
    export_onnx(network, spec, path)
    graph = open_runtime("onnxruntime", CPU, "fp32").open(path)
    return verify_graph(network, spec, sampling, graph, torch.float32, pictures())


@pytest.mark.parametrize("output_size", [(32, 48), (45, 70), (20, 30)])
def test_labels_at_any_size_are_those_of_torch(model, tmp_path, output_size):
    sampling = SamplingOptions(steps=2, sampler="dpm++2m")
    network = load_network(model)
    spec = GraphSpec((32, 48), sampling, output_size)
    result = verified(network, spec, sampling, tmp_path / "graph.onnx")
    assert (result.passed, result.frames) == (True, 2)
    assert result.confidence_error < 0.1


def test_an_odd_number_of_tokens_is_padded_as_in_torch(tmp_path):
    """Every size in the network but a multiple of 32 has one."""
    backbone, image, path = EfficientNetLite0().eval(), torch.rand(1, 3, 112, 48), tmp_path / "x"
    torch.onnx.export(
        backbone, (image,), path, input_names=["image"], opset_version=OPSET, dynamo=False
    )
    session = onnxruntime.InferenceSession(path)
    for found, expected in zip(
        session.run(None, {"image": image.numpy()}), backbone(image), strict=True
    ):
        assert found.shape == expected.shape


def test_the_official_architecture_with_its_noise_is_exported(official_network, tmp_path):
    sampling = SamplingOptions(steps=3, sampler="ddpm", temperature=0.5, samples=2)
    spec = GraphSpec((32, 32), sampling, (32, 32))
    path = tmp_path / "graph.onnx"
    result = verified(copy.deepcopy(official_network), spec, sampling, path)
    assert result.passed, str(result)
    model = onnx.load(path)
    shapes = {
        each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in model.graph.input
    }
    assert shapes == {"frame": [32, 32, 3], "noise": [3, 2, 64, 16]}
    metadata = json.loads(model.metadata_props[0].value)
    assert metadata["labels"]["0"] == "road"
    assert metadata["sampling"]["steps"] == 3
    assert metadata["sampling"]["temperature"] == "above 0"


@pytest.mark.parametrize(
    ("output_size", "void"), [(None, True), (None, False), ((32, 32), True), ((45, 70), False)]
)
def test_bytes_are_at_the_ends_of_a_graph_only_and_made_of_floats(
    official_network, model, tmp_path, output_size, void
):
    """TensorRT's parser: "TensorRT does not support UINT8 types for intermediate tensors!"."""
    network = copy.deepcopy(official_network) if void else load_network(model)
    sampling = SamplingOptions(steps=1, warm_start_time=0 if void else 300)
    export_onnx(network, GraphSpec((32, 32), sampling, output_size), tmp_path / "graph.onnx")
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "graph.onnx")).graph
    types = {each.name: each.type.tensor_type.elem_type for each in graph.value_info}
    assert {each for node in graph.node for each in node.output} <= types.keys() | {
        each.name for each in graph.output
    }
    assert onnx.TensorProto.UINT8 not in types.values()
    assert onnx.TensorProto.DOUBLE not in types.values()
    for each in graph.output:
        if each.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
            (node,) = (node for node in graph.node if each.name in node.output)
            assert (node.op_type, types[node.input[0]]) == ("Cast", onnx.TensorProto.FLOAT)


def test_another_graph_does_not_pass(model, tiny_model, tmp_path):
    other = copy.deepcopy(tiny_model)
    torch.nn.init.normal_(other.denoiser.final_layer.linear.weight)
    sampling = SamplingOptions(steps=1)
    spec = GraphSpec((32, 48), sampling, (32, 48))
    export_onnx(other, spec, tmp_path / "graph.onnx")
    graph = open_runtime("onnxruntime", CPU, "fp32").open(tmp_path / "graph.onnx")
    network = load_network(model)
    result = verify_graph(network, spec, sampling, graph, torch.float32, pictures())
    assert not result.passed


def test_what_cannot_be_exported_is_refused():
    with pytest.raises(ValueError, match="iterations 1"):
        GraphSpec((32, 48), SamplingOptions(iterations=2))


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_the_command_writes_a_verified_file_of_the_size_asked_for(model, tmp_path):
    output = tmp_path / "small.onnx"
    result = run("--model", model, "--output", output, "--frames", 1, "--network-size", "64x48")
    assert result.exit_code == 0, result.output
    assert "100.000 % of the labels" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    session = onnxruntime.InferenceSession(output)
    assert session.get_inputs()[0].shape == [48, 64, 3]
    assert session.get_outputs()[0].shape == [48, 64]


def test_openvino_gets_its_two_files(model, tmp_path):
    openvino = pytest.importorskip("openvino")
    output = tmp_path / "small.xml"
    result = run(
        "--model", model, "--output", output, "--steps", 1, "--frames", 1,
        "--format", "openvino", "--precision", "fp32",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.bin", "small.xml"]
    assert len(openvino.Core().read_model(output).outputs) == 2


@pytest.mark.parametrize("length", [5, 28, 55, 100])
def test_frames_to_calibrate_on_are_from_everywhere(length, tmp_path):
    for number in range(length):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((1, 1, 3), number, np.uint8))
    frames = [int(frame[0, 0, 0]) for frame in _frames_of(str(tmp_path), 28, spread=True)]
    assert len(frames) == min(28, length)
    gaps = np.diff([-1, *frames, length])
    assert gaps.max() <= length / 28 + 2
    assert _frames_of(str(tmp_path), 3)[-1][0, 0, 0] == 2


def test_a_file_that_differs_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setitem(verification.LIMITS, torch.float32, 1.01)
    result = run("--model", model, "--output", tmp_path / "a.onnx", "--steps", 1, "--frames", 1)
    assert result.exit_code == 1
    assert "does not do what PyTorch does" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.onnx", "--format", "coreml"], "--format must be one of"),
        (["--output", "a.txt"], "expected a .onnx file"),
        (["--output", "nowhere/a.onnx"], "a .onnx file in a folder that exists"),
        (["--output", "a.onnx", "--output-size", "360"], "WIDTHxHEIGHT"),
        (["--output", "a.onnx", "--model", "nowhere"], "no model 'nowhere'"),
        (["--output", "a.onnx", "--precision", "bf16"], "--format onnx is float32"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.output
