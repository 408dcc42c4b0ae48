"""Scores of clouds and grids: right with true masks, and what wrong ones cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from camss_ros.lab import projection_study
from camss_ros.lab.projection_page import write_projection_page
from camss_ros.lab.projection_study import measure, score, true_labels
from camss_ros.street.classes import PAVEMENT, ROAD


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection_study, "_SIZE", (240, 320))
    monkeypatch.setattr(projection_study, "_TURNS", 2)
    monkeypatch.setattr(projection_study, "_POINTS", 1000)


def test_wrong_labels_cost_points_and_cells() -> None:
    def all_road(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(labels == PAVEMENT, np.uint8(ROAD), labels), np.full_like(labels, 255)

    true, wrong = (score(labeller, [(0, 0)]) for labeller in (true_labels, all_road))
    assert true["points"] == 1.0
    assert true["cells"] > 0.95
    assert true["free_wrong"] < 0.05
    assert wrong["points"] < true["points"]
    assert wrong["cells"] < true["cells"] - 0.1
    assert wrong["free_wrong"] > 0.1


def test_the_page_has_scores_and_times(tmp_path: Path) -> None:
    times = measure()
    assert all(0 <= found["p50"] <= found["p95"] for found in times.values())
    scores = {"true masks": dict.fromkeys(("points", "cells", "known", "free_wrong"), 0.5)}
    model = {"name": "camss-tiny", "sha256": "0" * 64}
    page, content = write_projection_page(
        tmp_path / "out", "camss-ros study projection", model, 1, scores, times
    )
    assert "| true masks | 50.00 % | 50.00 % | 50.00 % | 50.00 % |" in page.read_text()
    assert f"`camss-tiny` (weights sha256\n`{'0' * 64}`)" in page.read_text()
    numbers = json.loads(content.read_text())
    assert (numbers["model"], numbers["times_ms"]) == (model, times)
