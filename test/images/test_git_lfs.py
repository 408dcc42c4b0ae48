"""Pointers that a clone without Git LFS leaves: every reader says what to do."""

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from camss_ros.bags.bag import Bag, BagError
from camss_ros.images.frames import UnreadableInputError, open_frames
from camss_ros.images.image_files import DataError
from camss_ros.images.label_files import read_ids
from camss_ros.images.label_sets import load_label_set
from camss_ros.model.checkpoint import ModelError, load_pretrained
from camss_ros.model.official import read_autoencoder

WHAT_TO_DO = "git lfs pull"


def pointer(path: Path) -> Path:
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
        "size 12345\n"
    )
    return path


@pytest.mark.parametrize("name", ["bag.mcap", "bag.db3", "bag.bag", "bag"])
def test_bags(tmp_path: Path, name: str) -> None:
    pytest.importorskip("rosbags")
    with pytest.raises(BagError, match=WHAT_TO_DO):
        Bag(pointer(tmp_path / name))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.mp4"])
def test_images_and_videos(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableInputError, match=WHAT_TO_DO):
        open_frames(pointer(tmp_path / name))


def test_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pointer(tmp_path / "a.png")
    with pytest.raises(UnreadableInputError, match=WHAT_TO_DO):
        _ = open_frames(tmp_path).size
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((4, 4, 3), np.uint8))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert [frame.name for frame in open_frames(tmp_path)] == ["b"]
    assert WHAT_TO_DO in caplog.text
    with pytest.raises(DataError, match=WHAT_TO_DO):
        read_ids(tmp_path / "a.png", load_label_set("camvid11"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_models(tmp_path: Path, model: Path, name: str) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    pointer(copy / name)
    with pytest.raises(ModelError, match=rf"{name}.*{WHAT_TO_DO}"):
        load_pretrained(copy)
    if name != "config.json":
        (copy / "config.json").unlink()
        with pytest.raises(ModelError, match=rf"{name}.*{WHAT_TO_DO}"):
            load_pretrained(copy)
    with pytest.raises(ModelError, match=WHAT_TO_DO):
        load_pretrained(copy / name)
    with pytest.raises(ModelError, match=WHAT_TO_DO):
        read_autoencoder(copy / name)
