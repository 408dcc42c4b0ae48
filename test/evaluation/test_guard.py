"""A guard keeps out what has lost a class: graphs at export, models in the node."""

import copy

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from segmenter_process import Camera, at_the_front
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.evaluation.guard import GuardError, check_guard
from camss_ros.images.label_sets import load_label_set, save_label_set
from camss_ros.inference.graphs import export
from camss_ros.inference.segmenter import Segmenter
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.model.checkpoint import load_pretrained, save_pretrained
from camss_ros.street.synthetic import random_scene

CAMVID = load_label_set("camvid11")
RARE = CAMVID.classes[10]
SIZE = (32, 48)


def lower(network, by):
    """The network with the logits of RARE lowered."""
    other = copy.deepcopy(network)
    bias = other.mask_autoencoder.decoder.head[0].bias.data
    bias.unflatten(0, (len(CAMVID.classes), -1))[RARE.id] -= by
    return other


@pytest.fixture(scope="module")
def rare(tiny_model, tmp_path_factory):
    """A model that finds RARE on a few pixels in a thousand, and frames with its labels."""
    directory, root = tmp_path_factory.mktemp("rare"), tmp_path_factory.mktemp("data")
    frames = [random_scene(seed, *SIZE)[0] for seed in range(4)]

    def labels(by):
        save_pretrained(lower(tiny_model, by), directory)
        segmenter = Segmenter(directory, device="cpu", precision="fp32")
        return [segmenter.segment(frame).labels for frame in frames]

    low, high = 0.0, 20.0
    for _ in range(20):
        found = labels((low + high) / 2)
        share = np.mean([(each == RARE.id).mean() for each in found])
        if 0.002 < share < 0.008:
            break
        low, high = (low, (low + high) / 2) if share < 0.002 else ((low + high) / 2, high)
    assert 0.002 < share < 0.008
    for folder in ("images", "labels"):
        (root / "val" / folder).mkdir(parents=True)
    for number, (frame, label) in enumerate(zip(frames, found, strict=True)):
        cv2.imwrite(str(root / "val" / "images" / f"{number}.png"), frame[..., ::-1])
        cv2.imwrite(str(root / "val" / "labels" / f"{number}.png"), label)
    return directory, root


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def guard(rare):
    model, root = rare
    file = root / "guard.yaml"
    arguments = ("--model", model, "--data", "camvid", "--root", root, "--output", file)
    result = run("guard", *arguments, "--margin", 0.2, "--precision", "fp32", "--device", "cpu")
    assert result.exit_code == 0, result.output
    content = yaml.safe_load(file.read_text())
    assert content["limits"]["miou"] == pytest.approx(0.8, abs=1e-3)
    assert content["limits"][RARE.name] == pytest.approx(0.8, abs=1e-3)
    assert content["root"] == "."  # the folder may be moved
    return file


def test_a_model_passes_its_own_guard(rare):
    model, root = rare
    file = root / "strict.yaml"
    # a label that no limit of four decimals says exactly
    wrong = root / "third" / "val"
    for kind in ("images", "labels"):
        (wrong / kind).mkdir(parents=True)
        for number in range(3):
            image = cv2.imread(str(root / "val" / kind / f"{number}.png"), cv2.IMREAD_UNCHANGED)
            if kind == "labels":
                image[: number + 3] = 0
            cv2.imwrite(str(wrong / kind / f"{number}.png"), image)
    arguments = ("--model", model, "--data", "camvid", "--root", wrong.parent, "--output", file)
    result = run("guard", *arguments, "--margin", 0, "--precision", "fp32", "--device", "cpu")
    assert result.exit_code == 0, result.output
    check_guard(file, Segmenter(model, device="cpu", precision="fp32"))


def test_wrong_data_are_told_before_the_model_is_loaded(rare, tmp_path, monkeypatch):
    monkeypatch.setattr(SegmenterSpec, "open", None)
    model, root = rare
    arguments = ("--model", model, "--data", "camvid", "--root", root, "--split", "none")
    result = run("guard", *arguments, "--output", tmp_path / "guard.yaml")
    assert "no split 'none'" in result.output


@pytest.mark.parametrize("beside", [True, False])
def test_a_guard_finds_its_label_set_from_another_folder(
    rare, tmp_path, tmp_path_factory, monkeypatch, beside
):
    model, root = rare
    own = tmp_path_factory.mktemp("classes") / "höfe.yaml"
    save_label_set(CAMVID, own)
    monkeypatch.chdir(own.parent)
    file = (own.parent if beside else tmp_path) / "guard.yaml"
    arguments = ("--model", model, "--data", "camvid", "--root", root, "--output", file)
    options = ("--label-set", own.name, "--precision", "fp32", "--device", "cpu")
    result = run("guard", *arguments, *options)
    assert result.exit_code == 0, result.output
    label_set = own.name if beside else str(own)
    assert f"label_set: {label_set}\n" in file.read_text(encoding="utf-8")  # to be edited
    monkeypatch.chdir(root)
    check_guard(file, Segmenter(model, device="cpu", precision="fp32"))


def test_an_int8_graph_with_a_class_ruined_is_refused_and_the_old_file_stays(
    rare, guard, tmp_path, monkeypatch
):
    pytest.importorskip("openvino")
    model, root = rare
    old = tmp_path / "graph.xml"
    old.write_text("the old one")
    images = root / "val" / "images"
    arguments = (
        "export", "--model", model, "--format", "openvino", "--device", "cpu", "--images", images,
        "--output", old, "--guard", guard,
    )  # fmt: skip
    export_onnx = export.export_onnx
    with monkeypatch.context() as patch:
        patch.setattr(
            export, "export_onnx",
            lambda network, spec, path: export_onnx(lower(network, 1e3), spec, path),
        )  # fmt: skip
        result = run(*arguments, "--precision", "int8", "--calibrate", images)
    if "processor has no int8" in result.output:
        pytest.skip(result.output)
    # enough of all labels are as in PyTorch: only the guard sees it
    assert result.exit_code == 1
    assert f"{RARE.name}: 0.0000, at least 0.8000 is wanted" in result.output
    assert old.read_text() == "the old one"
    assert run(*arguments, "--precision", "fp32").exit_code == 0
    assert old.read_text() != "the old one"


@pytest.fixture(scope="module")
def others(rare, tmp_path_factory):
    """A model that never finds RARE, and one of other classes."""
    ruined = tmp_path_factory.mktemp("ruined")
    save_pretrained(lower(load_pretrained(rare[0]), 1e3), ruined)
    return ruined, save_small_model(tmp_path_factory.mktemp("other"), classes=3)


def test_the_node_keeps_its_model_where_the_guard_refuses_the_new_one(
    spawn, module_domain_id, rare, guard, others
):
    ruined, other = others
    front = at_the_front(spawn, module_domain_id, rare[0], guard=guard, precision="fp32")
    with front as (process, peer):
        camera = Camera(peer, process)
        for model, reason in ((ruined, f"{RARE.name}: 0.0000"), (other, "missing in the model")):
            assert peer.set_parameter("model", str(model)).successful
            response = peer.reload_model()
            assert not response.success
            assert reason in response.message
            camera.segment(camera.next_image())
            assert camera.status().model == "test"
        assert peer.set_parameter("guard", "").successful
        assert peer.reload_model().success


class Nothing:
    classes, model_name = CAMVID.classes, "small"

    def segment(self, image):
        raise AssertionError("nothing is to be segmented")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "YAML|flow|expected"),
        ("data: camvid", "lacks"),
        ("{data: camvid, root: r, limits: {}}", "nothing would be refused"),
        ("{data: camvid, root: r, limits: {miou: 2}}", "limits.miou is 2"),
        ("{data: camvid, root: r, limits: {miou: 1}, evry: 2}", "evry"),
        ("{data: camvid, root: none, limits: {miou: 1}}", "no data folder"),
        ("{data: mars, root: none, limits: {miou: 1}}", "mars"),
    ],
)
def test_a_guard_that_says_something_else_is_named(content, message, tmp_path):
    file = tmp_path / "guard.yaml"
    file.write_text(content)
    with pytest.raises(GuardError, match=message) as refused:
        check_guard(file, Nothing())
    assert str(file) in str(refused.value)


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["data", "root", "limits", "split", "every", "label_set"]),
        st.none() | st.integers() | st.text(max_size=5) | st.dictionaries(st.text(), st.floats()),
    )
)
def test_no_content_gets_past_it(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(GuardError, match="fuzzed"):
        check_guard(file, Nothing())
