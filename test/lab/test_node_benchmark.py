"""The node's speed: what is computed from what came back, and the real nodes over DDS."""

import json

import pytest
from ros_peer import large_images_arrive
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.lab import node_speed
from camss_ros.lab.node_speed import (
    LatencySample,
    NodeSettings,
    SentImages,
    latency_report,
    measure_node,
)

SHORT = NodeSettings(lowest=2, highest=100, seconds=10, long_seconds=20, latency_rates=(10, 30))


def system_of(service):
    """A node that keeps up with 1 / `service` Hz; every image takes 2 ms to convert, 3 to publish
    and 4 to travel."""
    runs = []

    def send(rate, count):
        runs.append((rate, count))
        stamps = tuple(round(index * 1e9 / rate) + 1 for index in range(count))
        taken = stamps[:: max(1, -(-round(service * rate * 100) // 100))]
        sample = LatencySample(
            service + 0.009, service + 0.007, service + 0.006, service, 0.002, 0.003, 2, 1, (64, 96)
        )
        return SentImages(stamps, len(taken), dict.fromkeys(taken, sample))

    send.runs = runs
    return send


def test_rate_and_latency_of_a_simulated_node():
    system = system_of(0.05)
    trials = []
    result = measure_node(system, SHORT, lambda: trials.append(1))
    assert result["highest_rate"]["hz"] == pytest.approx(20, rel=0.06)
    assert result["highest_rate"]["drops"] == 0
    assert result["highest_rate"]["limited_by"] == "drops"
    assert len(trials) == len(system.runs) == len(result["highest_rate"]["trials"]) + 2
    assert system.runs[-2:] == [(10, 200), (30, 600)]

    slow, fast = result["latency"]["10 Hz"], result["latency"]["30 Hz"]
    assert slow["drops"] == 0
    assert fast["drops"] == pytest.approx(0.5)
    assert slow["sent_hz"] == pytest.approx(10)
    for key, expected in {
        "stamp_to_mask_ms": 59, "stamp_to_publication_ms": 57, "arrival_to_publication_ms": 56,
        "segmenter_ms": 50, "convert_ms": 2, "publish_ms": 3, "convert_and_publish_ms": 5,
        "rest_ms": 4, "outside_segmenter_ms": 9,
    }.items():  # fmt: skip
        assert slow[key]["p50"] == pytest.approx(expected), key
    json.dumps(result, allow_nan=False)


def test_a_node_without_an_answer_has_no_times():
    report = latency_report(SentImages((1, 2, 3), 0, {}))
    assert report["drops"] == 1
    assert report["stamp_to_mask_ms"] is None
    result = measure_node(lambda rate, count: SentImages((1,), 0, {}), SHORT)
    assert result["highest_rate"]["hz"] is None
    json.dumps(result, allow_nan=False)


@large_images_arrive
def test_the_command_measures_real_nodes(tmp_path, monkeypatch):
    model = save_small_model(tmp_path / "model")
    short = NodeSettings(lowest=4, highest=6, seconds=2, long_seconds=2, latency_rates=(5,))
    monkeypatch.setattr(node_speed, "NodeSettings", lambda: short)
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS"):
        monkeypatch.setenv(name, "")  # the command sets them; other tests get back what they had
    arguments = [
        "benchmark", "--node", "--model", str(model), "--backend", "torch", "--device", "cpu",
        "--steps", "2", "--size", "1280x720", "--json", str(tmp_path / "node.json"),
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "highest rate" in result.output
    content = json.loads((tmp_path / "node.json").read_text())
    assert content["node"]["backend"] == "torch"
    assert content["node"]["steps"] == 2
    node = content["sizes"]["1280x720"]
    trials = node["highest_rate"]["trials"]
    assert [trial["asked"] for trial in trials[:1]] == [4]
    assert any(trial["sent"] > 0 for trial in trials)
    latency = node["latency"]["5 Hz"]
    assert latency["images"] == 10
    assert latency["drops"] < 1
    times = {name: value for name, value in latency.items() if name.endswith("_ms")}
    # but for the rest: a mask may be there before the node that published it goes on
    assert min(value["p50"] for name, value in times.items() if name != "rest_ms") >= 0
    assert all(value["p50"] <= value["p95"] for value in times.values())
    assert times["convert_ms"]["p50"] > 0
    assert times["publish_ms"]["p50"] > 0
    whole = times["stamp_to_mask_ms"]["mean"]
    parts = ("segmenter_ms", "convert_ms", "publish_ms", "rest_ms")
    assert sum(times[part]["mean"] for part in parts) == pytest.approx(whole)
    assert whole > times["segmenter_ms"]["mean"]
