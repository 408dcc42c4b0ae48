"""Images from one process to another, with and without the Fast DDS profile."""

from pathlib import Path

import pytest

from camss_ros.nodes.demo_environment import isolate
from camss_ros.nodes.transport_benchmark import Trial, row, send, write_street


@pytest.mark.parametrize("with_profile", [False, True])
def test_every_small_image_arrives_with_its_latency(tmp_path: Path, with_profile: bool) -> None:
    write_street(tmp_path / "images", (48, 64))
    trial = send(tmp_path / "images", 50.0, 5, isolate(), with_profile)
    assert len(set(trial.sent)) == 5
    assert len(trial.latencies) == 5
    assert 0 < min(trial.latencies) <= max(trial.latencies) < 60
    assert 0 < trial.rate < 60


def test_the_row_counts_what_is_lost_in_all_trials() -> None:
    trials = [
        Trial((0, 100_000_000, 200_000_000), (0.001, 0.002, 0.003)),
        Trial((0, 100_000_000, 200_000_000), ()),
    ]
    assert row(10.0, True, trials) == "| 10 Hz | with | 10.0 Hz | 3 of 6 | 2.0 | 2.9 |"
    assert row(30.0, False, trials[1:]) == "| 30 Hz | without | 10.0 Hz | 3 of 3 |  |  |"
