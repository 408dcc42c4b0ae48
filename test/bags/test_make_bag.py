"""Frames into bags, and what is in them."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import images, labels
from file_limit import file_limit
from typer.testing import CliRunner, Result

from camss_ros.bags.bag import Bag
from camss_ros.bags.bag_frames import decode_image, decode_labels
from camss_ros.bags.bag_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, LABEL_INFO
from camss_ros.bags.bag_writer import BagWriter
from camss_ros.cli import app
from camss_ros.images.video_writer import VideoWriter
from camss_ros.projection.depth_cloud import depth_in_metres
from camss_ros.street.synthetic import SyntheticStreet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three labelled images, void as 11."""
    for part in ("images", "labels"):
        (tmp_path / "input" / part).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images(3), labels(3), strict=True)):
        cv2.imwrite(str(tmp_path / f"input/images/{number}.png"), image[..., ::-1])
        cv2.imwrite(str(tmp_path / f"input/labels/{number}.png"), np.minimum(label, 11))
    return tmp_path / "input"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["make-bag", *map(str, arguments)])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_labelled_folder_becomes_a_bag(folder: Path, tmp_path: Path, storage: str) -> None:
    path = tmp_path / "bag"
    result = run(folder, "--output", path, "--rate", 4, "--label-set", "camvid11",
                 "--storage", storage)  # fmt: skip
    assert result.exit_code == 0, result.output
    with Bag(path) as bag:
        assert {(topic.name, topic.type, topic.messages) for topic in bag.topics} == {
            ("/camera/image", IMAGE, 3),
            ("/camera/label", IMAGE, 3),
            ("/camera/camera_info", CAMERA_INFO, 3),
            ("/camera/label_info", LABEL_INFO, 1),
        }
        for number, message in enumerate(bag.messages(["/camera/image"])):
            np.testing.assert_array_equal(decode_image(bag, message), images(3)[number])
            assert bag.stamp(message) == message.log_time == (number + 1) * 250_000_000
        for number, message in enumerate(bag.messages(["/camera/label"])):
            np.testing.assert_array_equal(decode_labels(bag, message), labels(3)[number])
        info = bag.decode(next(bag.messages(["/camera/camera_info"])))
        assert (info.height, info.width) == (32, 48)
        names = bag.decode(next(bag.messages(["/camera/label_info"])))
        assert names.class_map[3].class_name == "road"
        assert names.class_map[3].class_id == 3
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_the_synthetic_street_is_labelled_in_the_set_that_is_asked_for(tmp_path: Path) -> None:
    for label_set, road in (("camvid11", 3), ("cityscapes19", 0)):
        path = tmp_path / label_set
        result = run("synthetic", "--output", path, "--frames", 1, "--label-set", label_set)
        assert result.exit_code == 0, result.output
        with Bag(path) as bag:
            label = decode_labels(bag, next(bag.messages(["/camera/label"])))
            names = bag.decode(next(bag.messages(["/camera/label_info"])))
        assert names.class_map[road].class_name == "road"
        assert label[-1, label.shape[1] // 2] == road


def test_the_synthetic_street_has_depth_where_it_is_asked_for(tmp_path: Path) -> None:
    result = run("synthetic", "--output", tmp_path / "bag", "--frames", 1, "--depth")
    assert result.exit_code == 0, result.output
    with Bag(tmp_path / "bag") as bag:
        (image, depth) = (
            bag.decode(next(bag.messages([f"/camera/{name}"]))) for name in ("image", "depth/image")
        )
        (info, own_info) = (
            bag.decode(next(bag.messages([f"/camera/{name}camera_info"])))
            for name in ("", "depth/")
        )
    assert image.header == depth.header == own_info.header
    assert list(info.k) == list(own_info.k)
    metres = depth_in_metres(depth)
    np.testing.assert_array_equal(metres, SyntheticStreet().frame_with_depth(0)[2])


def test_jpeg_and_namespace(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    result = run(folder / "images", "--output", path, "--jpeg", 90, "--namespace", "/front",
                 "--frames", 2)  # fmt: skip
    assert result.exit_code == 0, result.output
    with Bag(path) as bag:
        (image,) = (topic for topic in bag.topics if topic.type == COMPRESSED_IMAGE)
        assert (image.name, image.messages) == ("/front/image/compressed", 2)
        assert decode_image(bag, next(bag.messages([image.name]))).shape == (32, 48, 3)


def test_a_video_keeps_its_stamps_unless_a_rate_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    times = [0, 0.1, 0.2, 2, 2.5]
    with VideoWriter(tmp_path / "12:30:00.mp4", fps=10) as video:
        for time in times:
            video.write(np.zeros((32, 48, 3), np.uint8), time)
    for output, rate in (("2024-05-01T12:30:00", 0), ("steady", 4)):
        result = run("12:30:00.mp4", "--output", output, "--rate", rate)
        assert result.exit_code == 0, result.output
        with Bag(tmp_path / output) as bag:
            stamps = [bag.stamp(message) / 1e9 for message in bag.messages(["/camera/image"])]
        wanted = np.arange(5) / 4 if rate else times
        assert np.array(stamps) - stamps[0] == pytest.approx(wanted, abs=1e-3)


def test_what_cannot_be_done_is_said_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    cases = [
        ((folder, "--output", tmp_path / "bag"), "label set"),
        ((folder, "--output", tmp_path / "there", "--label-set", "camvid11"), "exists already"),
        (("/nowhere.mp4", "--output", tmp_path / "bag"), "/nowhere.mp4"),
        (("synthetic", "--output", tmp_path / "bag"), "no end"),
        ((folder, "--output", tmp_path / "bag", "--storage", "tape"), "tape"),
        ((folder, "--output", tmp_path / "bag", "--namespace", "camera"), "namespace"),
        ((folder, "--output", tmp_path / "bag", "--namespace", "/front-left"), "namespace"),
        ((folder / "images", "--output", tmp_path / "bag", "--depth"), "knows no depth"),
    ]
    for arguments, message in cases:
        result = run(*arguments)
        assert result.exit_code == 1, arguments
        assert message in result.output
        assert "Traceback" not in result.output
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["input", "there"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, storage: str) -> None:
    output = tmp_path / "bag"
    with file_limit(300_000):
        result = run("synthetic", "--frames", 3, "--output", output, "--storage", storage)
    assert result.exit_code == 1
    assert f"can't write the bag '{output}': " in result.output.replace("\n", "")
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time_writes_a_bag(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag"), pytest.raises(OSError, match="another process is writing"):
        BagWriter(tmp_path / "bag")
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_what_a_killed_run_left_of_a_bag_is_removed_by_the_next(tmp_path: Path) -> None:
    output = tmp_path / "out"
    killed = f"""
import os
from pathlib import Path
from camss_ros.bags.bag_writer import BagWriter
BagWriter(Path({str(output / "bag")!r})).__enter__()
os._exit(9)"""
    done = subprocess.run([sys.executable, "-c", killed], cwd=Path(__file__).parents[2])
    assert done.returncode == 9
    assert list(output.iterdir())
    assert run("synthetic", "--frames", 1, "--output", output / "bag").exit_code == 0
    assert [path.name for path in output.iterdir()] == ["bag"]
