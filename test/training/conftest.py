"""Fixtures for the tests of training."""

from pathlib import Path

import pytest
from training_run import write_camvid


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames whose brightness tells the class."""
    return write_camvid(tmp_path_factory.mktemp("camvid"))
