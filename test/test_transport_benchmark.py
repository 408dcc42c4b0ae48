"""Images go from process to process, and what becomes of them is counted."""

from pathlib import Path

import numpy as np

from camss_ros.evaluation.result_folder import write_image
from camss_ros.nodes.demo_environment import isolate
from camss_ros.nodes.transport_benchmark import Trial, row, send


def test_small_images_arrive(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    write_image(folder / "0.png", np.zeros((48, 64, 3), np.uint8))
    trial = send(folder, 20.0, 5, isolate(), with_profile=True)
    assert len(trial.sent) == len(trial.latencies) == 5
    assert min(trial.latencies) > 0


def test_the_row_counts_what_was_lost() -> None:
    trials = [
        Trial((0, 100_000_000, 200_000_000), (0.01, 0.03)),
        Trial((0, 100_000_000, 200_000_000), ()),
    ]
    expected = "| 64 x 48 | 10 Hz | without | 10.0 Hz | 33.3 % of 6 | 20.0 | 29.0 |"
    assert row((48, 64), 10.0, False, trials) == expected
    assert row((48, 64), 10.0, True, trials[1:]).endswith("| 0.0 % of 3 |  |  |")
