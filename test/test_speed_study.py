"""The study of speed on small models: sections, resuming after a stop, and the page."""

import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from small_model import save_small_model
from test_node_benchmark import SHORT, system_of
from typer.testing import CliRunner

from camss_ros.benchmark.machine import describe_machine
from camss_ros.benchmark.node_speed import SIZES, measure_node
from camss_ros.benchmark.steady import measure_steadiness
from camss_ros.cli import app
from camss_ros.data.datasets import open_data
from camss_ros.data.label_sets import load_label_set
from camss_ros.evaluation.evaluate import evaluate
from camss_ros.evaluation.result_folder import OutputMismatchError
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.camseg import CamSeg, ConcatTransformerConfig, DenoiserConfig
from camss_ros.model.checkpoint import weights_hash
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig
from camss_ros.model.official import base_config
from camss_ros.model.schedule import SamplingOptions
from camss_ros.nodes import node_benchmark
from camss_ros.studies import speed_study
from camss_ros.studies.speed_study import SECTIONS, LabelledData, SpeedSettings, study_speed

CAMVID = load_label_set("camvid11")
FACTS = {"name": "small", "sha256": "abc"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("model"), label_set=CAMVID.classes)


@pytest.fixture(scope="module")
def official_model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("official")
    config = base_config(
        autoencoder=ImageAutoencoderConfig(4, 32, (1, 1), 1, ()),
        transformer=ConcatTransformerConfig(32, 1, 2, 2),
        denoiser=DenoiserConfig(32, 1),
        input_size=(16, 16),
    )
    CamSeg(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two frames of 48 x 64."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for kind, shape, high in (("images", (48, 64, 3), 256), ("labels", (48, 64), 12)):
        (root / "val" / kind).mkdir(parents=True)
        for name in ("a", "b"):
            cv2.imwrite(str(root / "val" / kind / f"{name}.png"), rng.integers(0, high, shape))
    return root


@pytest.fixture
def settings(model, official_model):
    return SpeedSettings(
        model=str(model), device="cpu", backend="torch", precision="fp32", steps=2,
        official_model=str(official_model), official_steps=3,
        official_turns={(16, 16): 2, (24, 24): 1}, steady_frames=25, frame_size=(48, 64),
    )  # fmt: skip


@pytest.fixture
def simulated_node(monkeypatch):
    """Instead of processes, which test_node_benchmark.py starts."""
    asked = []

    def measure(model, parameters, sizes, settings, on_trial):
        asked.append((str(model), parameters))
        node = {"model": "small", "device": "cpu", "backend": "torch", "steps": 2,
                "sampler": "ddim", "samples": 1}  # fmt: skip
        on_trial("480x360", 0)
        measured = {f"{w}x{h}": measure_node(system_of(0.03), SHORT) for h, w in sizes}
        machine = describe_machine(torch.device("cpu"))
        return {"node": node, "sizes": measured, "machine": machine, "load_average": 0.0}

    monkeypatch.setattr(node_benchmark, "measure_node_sizes", measure)
    return asked


def labelled(root):
    frames = open_data("camvid", root, "val")
    return LabelledData("camvid val", frames, frames.label_set)


def test_every_section_is_measured_and_shown(settings, root, tmp_path, simulated_node):
    doing = []
    left_out = study_speed(
        settings, tmp_path, FACTS, "camss-ros study speed", labelled(root), progress=doing.append
    )
    assert left_out == []
    assert {section.title for section in SECTIONS} <= set(doing)
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["complete"]
    rows = content["rows"]
    assert set(rows) == {"official", "node", "scores, camvid val", "steady"}

    page = (tmp_path / "speed.md").read_text()
    text = " ".join(page.split())
    assert "camss-ros study speed" in page
    for section in SECTIONS:
        assert f"## {section.title}" in page
    sizes = rows["official"]["sizes"]
    assert [(name, each["turns"]) for name, each in sizes.items()] == [
        ("16 x 16", 2),
        ("24 x 24", 1),
    ]
    assert f"{sizes['24 x 24']['ratio']['median']:.1f} (" in page
    holds = sizes["16 x 16"]["ratio"]["median"] >= 20
    assert f"At the first size the promise {'**holds**' if holds else '**does not hold**'}" in text

    assert simulated_node[0][1]["steps"] == 2
    # 30 ms a frame and 39 from stamp to mask: 33 Hz and under 70 ms; 5 ms are not under 5
    assert f"At {SIZES[0][1]} x {SIZES[0][0]} the promise **holds**" in text
    assert "own share **does not hold**" in text
    assert "39.0 / 39.0" in page

    scores = rows["scores, camvid val"]
    alone = settings.segmenter("torch", "fp32")
    assert alone.sampling == SamplingOptions(steps=2)
    expected = evaluate(alone, open_data("camvid", root, "val"), CAMVID).scores.miou
    assert scores["reference"]["miou"] == scores["chosen"]["miou"] == pytest.approx(expected)
    assert "+0.0000 mIoU is lost; the promise **holds**" in text
    assert len(rows["steady"]["resident_mb"]) == 25
    assert str(tmp_path) not in page


def test_a_stopped_study_goes_on_with_what_is_missing(settings, tmp_path, monkeypatch):
    calls = []

    def section(key, stops=False):
        def measure(settings, data, progress):
            calls.append(key)
            if stops:
                raise KeyboardInterrupt
            return {"value": key}

        return speed_study.Section(key, key, "much", measure, lambda row: f"got {row['value']}\n")

    sections = [section("one"), section("two", stops=True)]
    with pytest.raises(KeyboardInterrupt):
        study_speed(settings, tmp_path, FACTS, "command", sections=sections)
    assert not (tmp_path / "speed.md").exists()
    sections = [section("one"), section("two")]
    study_speed(settings, tmp_path, FACTS, "command", sections=sections)
    assert calls == ["one", "two", "two"]
    page = (tmp_path / "speed.md").read_text()
    assert page.index("got one") < page.index("got two")
    # a section that came later is measured, the others are kept
    study_speed(settings, tmp_path, FACTS, "command", sections=[*sections, section("three")])
    assert calls == ["one", "two", "two", "three"]

    monkeypatch.setattr(speed_study, "describe_machine", lambda device: {"processor": "another"})
    with pytest.raises(OutputMismatchError, match="machine"):
        study_speed(settings, tmp_path, FACTS, "command", sections=sections)


def test_steadiness_sees_what_grows(model):
    segmenter = Segmenter(model, device="cpu", precision="fp32")
    kept = []
    result = measure_steadiness(
        segmenter, (48, 64), 40, lambda: kept.append(np.ones(2_000_000, np.uint8))
    )
    assert result["growth_mb"] == pytest.approx(2 * 35, rel=0.3)
    assert len(result["resident_mb"]) == 40
    for key in ("first_ms", "second_ms", "hundredth_ms"):
        assert result[key] > 0


def test_command_writes_the_page_without_data(model, tmp_path, monkeypatch):
    monkeypatch.setattr(speed_study, "SECTIONS", SECTIONS[2:])
    monkeypatch.setattr(
        speed_study, "SpeedSettings", partial(SpeedSettings, steady_frames=25, frame_size=(48, 64))
    )
    output = tmp_path / "out"
    arguments = [
        "study", "speed", "--model", str(model), "--steps", "2", "--device", "cpu",
        "--precision", "fp32", "--backend", "torch", "--output", str(output),
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "left out for lack of --data: What speed costs" in result.output
    page = (output / "speed.md").read_text()
    assert weights_hash(model) in page
    assert "## Frame after frame" in page
    assert "--steps 2 --device cpu --precision fp32 --backend torch" in page

    result = CliRunner().invoke(app, [*arguments, "--data", "camvid"])
    assert result.exit_code == 1
    assert "go together" in result.output
