"""The study of speed on small models: sections, resuming after a stop, and the page."""

import json
import mmap
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from labelled_pictures import write_pictures
from test_budget_section import SimulatedNode
from test_node_benchmark import SHORT, system_of
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets.datasets import open_data
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.evaluate import evaluate
from camss_ros.evaluation.result_folder import OutputMismatchError, fingerprint
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.lab import node_benchmark, offline_section, score_section, speed_section, speed_study
from camss_ros.lab.keyframe_section import show_intervals
from camss_ros.lab.machine import describe_machine
from camss_ros.lab.node_speed import SIZES, measure_node
from camss_ros.lab.score_section import show_sizes
from camss_ros.lab.speed_section import LabelledData, OfflineSettings, Section, SpeedSettings
from camss_ros.lab.speed_study import SECTIONS, study_speed
from camss_ros.lab.steady_section import measure_steadiness
from camss_ros.lab.warm_start import SECTION_START_TIMES, show_warm_start
from camss_ros.model.checkpoint import weights_hash
from camss_ros.model.schedule import SamplingOptions

CAMVID = load_label_set("camvid11")
MODEL = {"name": "small", "sha256": "abc"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two frames of 48 x 64, of one scene."""
    return write_pictures(tmp_path_factory.mktemp("data"), (48, 64), "ab", 12, brightness=30)


@pytest.fixture
def settings(small_model, official_model):
    return SpeedSettings(
        SegmenterSpec(str(small_model), SamplingOptions(steps=2), device="cpu", precision="fp32"),
        official_model=str(official_model), official_steps=3,
        official_turns={(16, 16): 2, (24, 24): 1}, steady_frames=25, frame_size=(48, 64),
        network_sizes=((48, 80), (48, 64)), offline=OfflineSettings(3, (48, 64), 1),
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

    @contextmanager
    def node_under_test(parameters, logs):
        # a rate of its own, so that no other row's is shown for it
        yield SimulatedNode(parameters, highest=240 / parameters.get("keyframe_interval", 1))

    monkeypatch.setattr(node_benchmark, "measure_node_sizes", measure)
    monkeypatch.setattr(node_benchmark, "node_under_test", node_under_test)
    return asked


@pytest.fixture
def offline_commands(monkeypatch):
    """Run in this process; with one frame they take 1 s, with all 1.2 s."""
    commands = []

    def seconds(words):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        commands.append(words)
        return 1.0 if "--frames" in words or "--duration" in words else 1.2

    monkeypatch.setattr(offline_section, "_seconds", seconds)
    return commands


VAL = f"camvid val {fingerprint(())[:12]}"  # in the keys of the rows


def labelled(root, clip=True):
    frames = open_data("camvid", root, "val")
    return LabelledData("camvid val", frames, frames.label_set, clip)


def test_every_section_is_measured_and_shown(
    settings, root, tmp_path, simulated_node, offline_commands
):
    doing = []
    left_out = study_speed(
        settings, tmp_path, MODEL, "camss-ros study speed", labelled(root), progress=doing.append
    )
    assert left_out == {}
    assert {section.title for section in SECTIONS} <= set(doing)
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["complete"]
    rows = content["rows"]
    assert set(rows) == {
        "official", "node", f"budget, {VAL}", f"scores, {VAL}", f"sizes, {VAL}",
        f"keyframes, {VAL}", f"warm start, {VAL}", "steady", "offline",
    }  # fmt: skip

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

    budgets = rows[f"budget, {VAL}"]["runs"]
    assert [run["budget_ms"] for run in budgets.values()] == [50, 50]
    counted = ScoreAccumulator(11)
    for index in range(2):
        counted.add(open_data("camvid", root, "val")[index][1], np.zeros((48, 64), np.uint8))
    assert budgets["with room"]["kept"]["miou"] == pytest.approx(counted.scores().miou)
    assert "| steps 2, samples 1, torch | none | 7.0 | 0.0 % | 100.0 / 100.0 |" in page

    warm = rows[f"warm start, {VAL}"]["rows"]
    alone = settings.segmenter(backend="torch", precision="fp32")
    for key, steps, time in (("steps=4 warm_start_time=0", 4, 0), (
        f"steps=1 warm_start_time={SECTION_START_TIMES[0]}", 1, SECTION_START_TIMES[0],
    )):  # fmt: skip
        alone.sampling = SamplingOptions(steps=steps, warm_start_time=time)
        alone.forget_last_frames()
        expected = evaluate(alone, open_data("camvid", root, "val"), CAMVID, clip=True)
        assert warm[key]["miou"] == pytest.approx(expected.scores.miou)
        assert warm[key]["flicker"] == pytest.approx(expected.accumulator.flicker())
    assert [each["warm_frames"] for each in warm.values()] == [
        0,
        0,
        *[1] * len(SECTION_START_TIMES),
    ]

    scores = rows[f"scores, {VAL}"]
    alone = settings.segmenter(backend="torch", precision="fp32")
    assert alone.sampling == SamplingOptions(steps=2)
    expected = evaluate(alone, open_data("camvid", root, "val"), CAMVID).scores.miou
    assert scores["reference"]["miou"] == scores["chosen"]["miou"] == pytest.approx(expected)
    assert "In float32 +0.0000 mIoU is lost; the promise **holds**" in text
    assert "int8" not in text  # with backend torch

    sizes = rows[f"sizes, {VAL}"]
    assert [each["size"] for each in sizes["rows"]] == [[64, 96], [48, 80], [48, 64]]
    asked = [each[1].get("network_size") for each in simulated_node]
    assert asked == [(0, 0), (96, 64), (80, 48), (64, 48)]
    alone = settings.segmenter(network_size=(48, 64))
    expected = evaluate(alone, open_data("camvid", root, "val"), CAMVID).scores.miou
    assert sizes["rows"][2]["miou"] == {"camvid val": pytest.approx(expected)}
    assert "The aim is **not reached**: no size is fast enough" in text  # 33 Hz
    found = f"{sizes['rows'][2]['hz']:.1f} | 39.0 / 39.0 | 30.0 / 30.0 | {expected:.4f}"
    assert f"| 64 x 48, float32 | {found} |" in page
    every, second = rows[f"keyframes, {VAL}"]["rows"][:2]
    alone = settings.segmenter(keyframe_interval=2)
    expected = evaluate(alone, open_data("camvid", root, "val"), CAMVID, clip=True)
    assert every["miou"] == pytest.approx(sizes["rows"][0]["miou"]["camvid val"])
    assert second["miou"] == pytest.approx(expected.scores.miou)
    assert second["flicker"] == pytest.approx(expected.accumulator.flicker())
    assert second["miou"] != every["miou"]
    assert [each["hz"] for each in (every, second)] == pytest.approx([240, 120], rel=0.05)
    assert f"| 2 | {second['hz']:.1f} | 0.0 % | 103.0 / 103.0 | 90.0 / 90.0 |" in page

    assert len(rows["steady"]["resident_mb"]) == 25

    offline = rows["offline"]["commands"]
    assert [words[0] for words in offline_commands] == ["segment"] * 2 + ["evaluate-bag"] * 2
    assert {each: turn["whole_s"] for each, (turn,) in offline.items()} == {
        "segment": 1.2, "evaluate-bag": 1.2,
    }  # fmt: skip
    (turn,) = offline["segment"]
    assert f"| `segment` | 1.0 | 1.2 | 10.0 | {1e3 / turn['alone_ms']:.1f} |" in page
    assert str(tmp_path) not in page


def test_labels_that_are_all_void_leave_the_scores_open(settings, root, tmp_path, simulated_node):
    void = np.full((48, 64), 255, np.uint8)
    frames = [(image, void, name) for image, _, name in labelled(root).frames]
    data = replace(labelled(root), frames=frames)
    sections = [section for section in SECTIONS if section.needs]
    assert study_speed(settings, tmp_path, MODEL, "command", data, sections=sections) == {}
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert rows[f"scores, {VAL}"]["chosen"]["miou"] is None
    assert rows[f"budget, {VAL}"]["runs"]["as it is"]["kept"]["miou"] is None
    page = (tmp_path / "speed.md").read_text()
    assert "What is lost in float32 is not known: the labels are void." in page
    assert "| torch, float32 | - | - |" in page
    assert "the labels are void, so that nothing tells what is lost" in " ".join(page.split())


def test_int8_is_measured_beside_the_choice(
    root, tmp_path, small_model, simulated_node, monkeypatch
):
    pytest.importorskip("nncf")
    settings = SpeedSettings(SegmenterSpec(str(small_model), device="cpu", backend="openvino"))
    one = labelled(root)
    asked = []

    def evaluated(segmenter, *_, **__):
        asked.append((segmenter.backend, str(segmenter.dtype)))
        return SimpleNamespace(scores=SimpleNamespace(miou=0.75, pixel_accuracy=0.9))

    def opened(self, backend=None, precision=None):
        dtype = {"fp32": torch.float32, "int8": torch.int8}.get(precision, torch.bfloat16)
        return SimpleNamespace(backend=backend or "openvino", dtype=dtype, close=lambda: None)

    monkeypatch.setattr(score_section, "evaluate", evaluated)
    monkeypatch.setattr(SpeedSettings, "segmenter", opened)
    sections = [each for each in SECTIONS if each.key in ("node", "scores")]
    assert study_speed(settings, tmp_path, MODEL, "command", one, sections=sections) == {}
    assert [parameters["precision"] for _, parameters in simulated_node] == ["auto", "int8"]
    assert [dtype for _, dtype in asked] == ["torch.float32", "torch.bfloat16", "torch.int8"]
    text = " ".join((tmp_path / "speed.md").read_text().split())
    assert "480 x 360 the promise **holds**, in int8 it **holds**; the promise about" in text
    assert text.count("| 480x360, int8 |") == 2  # at two rates
    assert "In int8 +0.0000 mIoU is lost; the promise **holds**" in text


def test_a_stopped_study_goes_on_with_what_is_missing(settings, tmp_path, monkeypatch):
    calls = []

    def section(key, stops=False):
        def measure(run):
            calls.append(key)
            if stops:
                raise KeyboardInterrupt
            return {"value": key}

        return Section(key, key, "much", measure, lambda row: f"got {row['value']}\n")

    sections = [section("one"), section("two", stops=True)]
    with pytest.raises(KeyboardInterrupt):
        study_speed(settings, tmp_path, MODEL, "command", sections=sections)
    assert not (tmp_path / "speed.md").exists()
    sections = [section("one"), section("two")]
    study_speed(settings, tmp_path, MODEL, "command", sections=sections)
    assert calls == ["one", "two", "two"]
    page = (tmp_path / "speed.md").read_text()
    assert page.index("got one") < page.index("got two")
    # a section that came later is measured, the others are kept
    study_speed(settings, tmp_path, MODEL, "command", sections=[*sections, section("three")])
    assert calls == ["one", "two", "two", "three"]

    monkeypatch.setattr(speed_study, "describe_machine", lambda device: {"processor": "another"})
    with pytest.raises(OutputMismatchError, match="machine"):
        study_speed(settings, tmp_path, MODEL, "command", sections=sections)


def test_the_parts_of_a_section_are_kept_when_it_is_stopped(settings, tmp_path, monkeypatch):
    measured = []

    def measure_one(name):
        if len(measured) == 2 and name == "three":
            raise KeyboardInterrupt
        measured.append(name)
        return {"name": name}

    def measure(run):
        return {"rows": [run.part(name, partial(measure_one, name)) for name in names]}

    names = ["one", "two", "three"]
    monkeypatch.setattr(speed_study, "load_average", lambda: float(len(measured)))
    sections = [Section("some", "Some", "much", measure, lambda row: f"got {row['rows']}\n")]
    with pytest.raises(KeyboardInterrupt):
        study_speed(settings, tmp_path, MODEL, "command", sections=sections)
    content = json.loads((tmp_path / "speed.json").read_text())
    assert set(content["rows"]) == {"some: one", "some: two"}
    measured.append("in between")
    study_speed(settings, tmp_path, MODEL, "command", sections=sections)
    assert measured == ["one", "two", "in between", "three"]
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert rows == {"some": {"load_average": 3.0, "rows": [{"name": name} for name in names]}}


def test_sections_about_a_clip_are_left_out_where_the_frames_are_none(settings, root, tmp_path):
    only = [
        Section("one", "One", "much", lambda *_: {}, lambda row: "there\n", "data"),
        Section("two", "Two", "much", lambda *_: {}, lambda row: "there\n", "clip"),
    ]
    left_out = study_speed(
        settings, tmp_path, MODEL, "command", labelled(root, clip=False), sections=only
    )
    assert left_out == {"Two": "clip"}
    assert study_speed(settings, tmp_path, MODEL, "command", sections=only) == {
        "One": "data",
        "Two": "data",
    }
    asked = study_speed(settings, tmp_path, MODEL, "command", sections=only, only=["two"])
    assert asked == {"Two": "data"}
    assert study_speed(settings, tmp_path, MODEL, "command", labelled(root), sections=only) == {}


def test_the_size_that_loses_least_of_those_that_are_fast_enough_is_named():
    def row(size, hz, *miou, dtype="int8"):
        times = {"p50": 10.0, "p95": 11.0}
        return {"size": size, "dtype": dtype, "hz": hz, "stamp_to_mask_ms": times,
                "segmenter_ms": times,
                "miou": dict(zip(("one", "two"), miou, strict=True))}  # fmt: skip

    def shown(*rows):
        metadata = {"image_size": "480 x 360", "latency_at": "10 Hz"}
        own = row([96, 128], 20.0, 0.8, 0.6, dtype="bfloat16")
        return " ".join(show_sizes({**metadata, "rows": [own, *rows]}).split())

    text = shown(
        row([80, 112], 59.9, 0.8, 0.6), row([64, 96], 60.0, 0.79, 0.585),
        row([48, 64], 90.0, 0.8, 0.57),
    )  # fmt: skip
    assert "**reached**: of those that are fast enough, 96 x 64 in int8 loses least, 0.0150" in text
    assert "| 64 x 48, int8 | 90.0 | 10.0 / 11.0 | 10.0 / 11.0 | 0.8000 | 0.5700 |" in text
    lost = shown(row([48, 64], 90.0, 0.8, 0.57))
    assert "is **not reached**: of those that are fast enough, 64 x 48 in int8" in lost
    assert "**not reached**" in shown(row([48, 64], 90.0, 0.8, None))
    assert "**not reached**: no size is fast enough" in shown(row([80, 112], None, 0.8, 0.6))
    assert "its own size only" in show_sizes({"rows": []})


def test_the_key_frames_that_lose_least_of_those_that_are_fast_enough_are_named():
    def shown(*measured):
        rows = [
            {"interval": interval, "backend": "openvino", "dtype": "bfloat16", "hz": hz,
             "drops": 0.01, "stamp_to_mask_ms": None, "segmenter_ms": None, "miou": miou,
             "flicker": 0.02}
            for interval, hz, miou in ((1, 26.0, 0.75), *measured)
        ]  # fmt: skip
        metadata = {"frames": 9, "data": "d", "image_size": "480 x 360", "latency_at": "30 Hz"}
        return " ".join(show_intervals({**metadata, "rows": rows}).split())

    found = shown((2, 59.9, 0.745), (3, 60.0, 0.735), (4, 70.0, 0.731))
    assert "is **reached**: with the network on one image in 3, 0.0150 is lost" in found
    assert "| 3 | 60.0 | 1.0 % | - | - | 0.7350 | 0.0200 |" in found
    assert "**not reached**: with the network on one image in 4, 0.0210" in shown((4, 70, 0.729))
    assert "**not reached**: none is fast enough" in shown((2, None, 0.75))


def test_only_the_sections_that_are_asked_for_are_measured(settings, root, tmp_path):
    calls = []

    def section(key, every_data=False):
        def measure(run):
            calls.append((key, [each.name for each in (run.labelled, *run.others)]))
            return {}

        return Section(key, key, "much", measure, lambda row: f"got {key}\n", "data", every_data)

    sections = [section("one"), section("two", every_data=True)]
    other = replace(labelled(root), name="other val")

    def study(data=labelled(root), **options):
        study_speed(settings, tmp_path, MODEL, "command", data, sections=sections, **options)
        return (tmp_path / "speed.md").read_text()

    assert "got one" not in study(others=(other,), only=["two"])
    page = study(others=(other,), only=["one"])
    assert "got one" in page
    assert "got two" in page
    assert calls == [
        ("two", ["camvid val", "other val"]),
        ("one", ["camvid val", "other val"]),
    ]
    assert "got two" not in study(only=["one"])  # it is of two data sets
    changed = replace(labelled(root), files=[root / "val" / "labels" / "a.png"])
    assert "got one" not in study(changed, only=["two"])


@pytest.mark.parametrize(
    ("miou", "flicker", "says"),
    [
        (0.5, 0.09, "**holds**: warm from 800."),
        (0.499, 0.09, "**does not hold** at any of these starts."),
        (0.5, 0.1, "**does not hold** at any of these starts."),
        (None, 0.09, "**does not hold** at any of these starts."),
    ],
)
def test_one_warm_step_is_no_worse_and_steadier_than_four_cold_ones(miou, flicker, says):
    def row(name, steps, miou, flicker):
        return {"name": name, "steps": steps, "miou": miou, "flicker": flicker, "warm_frames": 0}

    rows = [
        row("cold", 4, 0.5, 0.1), row("cold", 1, 0.6, 0.05), row("warm from 700", 1, 0.4, 0.01),
        row("warm from 800", 1, miou, flicker),
    ]  # fmt: skip
    page = show_warm_start({
        "frames": 9, "data": "camvid val", "backend": "torch", "dtype": "float32",
        "rows": {str(index): each for index, each in enumerate(rows)},
    })  # fmt: skip
    assert f"The promise {says}" in " ".join(page.split())
    assert "| cold | 4 | 0.5000 | 0.1000 | +0.0000 | 1.000 | 0 |" in page
    assert "| warm from 700 | 1 | 0.4000 | 0.0100 | -0.1000 | 0.100 | 0 |" in page


BLOCK = b"x" * 2_000_000


def test_steadiness_sees_what_grows(small_model):
    segmenter = Segmenter(small_model, device="cpu", precision="fp32")
    kept = []

    def grow(done):
        # memory of its own: an allocator may take what earlier tests have left
        kept.append(mmap.mmap(-1, len(BLOCK)))
        kept[-1].write(BLOCK)

    result = measure_steadiness(segmenter, (48, 64), 40, grow)
    assert result["growth_mb"] == pytest.approx(2 * 35, rel=0.3)
    assert len(result["resident_mb"]) == 40
    for key in ("first_ms", "second_ms", "hundredth_ms"):
        assert result[key] > 0


def test_command_writes_the_page_without_data_and_with_some(
    small_model, root, tmp_path, monkeypatch, offline_commands
):
    monkeypatch.setattr(speed_study, "SECTIONS", SECTIONS[2:])
    monkeypatch.setattr(
        speed_section,
        "SpeedSettings",
        partial(
            SpeedSettings,
            steady_frames=25,
            frame_size=(48, 64),
            offline=OfflineSettings(3, (48, 64), 1),
        ),
    )
    output = tmp_path / "out"
    arguments = [
        "study", "speed", "--model", str(small_model), "--steps", "2", "--device", "cpu",
        "--precision", "fp32", "--backend", "torch", "--output", str(output),
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["camss-ros", *arguments])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "left out for lack of --data: What speed costs" in result.output
    assert "left out for lack of --data: Warm start" in result.output
    page = (output / "speed.md").read_text()
    assert weights_hash(small_model) in page
    assert "## Frame after frame" in page
    assert "--steps 2 --device cpu --precision fp32 --backend torch" in page

    result = CliRunner().invoke(app, [*arguments, "--data", "camvid"])
    assert result.exit_code == 1
    assert "go together" in result.output

    result = CliRunner().invoke(app, [*arguments, "--section", "scores"])
    assert result.exit_code == 1
    assert "--section 'scores' needs --data" in result.output
    assert (output / "speed.md").read_text() == page

    monkeypatch.setattr(speed_study, "SECTIONS", [SECTIONS[3]])
    scored = [*arguments, "--output", f"{output}2", "--data", "camvid", "--root", str(root)]
    result = CliRunner().invoke(app, [*scored, "--every", "2", "--clip"])
    assert result.exit_code == 1
    assert "leave --every out" in result.output
    result = CliRunner().invoke(app, [*scored, "--every", "2"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads((tmp_path / "out2" / "speed.json").read_text())["rows"].values()
    assert (row["frames"], row["data"]) == (1, "camvid val (1 of 2 frames)")
