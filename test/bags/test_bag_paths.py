"""Which paths are bags."""

import shutil
from pathlib import Path

import cv2
import pytest
from bag_files import images, write_bag
from rosbags.rosbag2 import CompressionMode

from camss_ros.bags.bag import BagError
from camss_ros.bags.bag_paths import bag_names, find_bags, holds_bag_data, is_single_bag


def test_bags_are_found_and_named(tmp_path: Path) -> None:
    one = write_bag(tmp_path / "a/run", images(1))
    two = write_bag(tmp_path / "b/run", images(1))
    (tmp_path / "b/old.bag").write_bytes(b"")
    (tmp_path / "b/notes.txt").write_bytes(b"")
    (tmp_path / "b/._old.bag").write_bytes(b"")  # of macOS
    packed = write_bag(tmp_path / "c/packed", images(1), compression=CompressionMode.FILE)
    (packed / "metadata.yaml").unlink()
    bare = tmp_path / "c/recording"
    shutil.copy(one / "run.mcap", bare)
    found = find_bags([tmp_path, one])
    assert found == [one, tmp_path / "b/old.bag", two, packed, bare]
    names = bag_names(found)
    assert len(set(names)) == 5
    assert [name.split("-")[0] for name in names] == ["run", "old", "run", "packed", "recording"]
    link = tmp_path / "monday.mcap"  # as git-annex has them
    link.symlink_to(bare)
    assert bag_names([link]) == ["monday"]
    results = tmp_path / "b/results"
    write_bag(results / "run/bag", images(1))  # of --write-bag
    assert len(find_bags([tmp_path], results)) == 5 + 1  # and the link
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="empty' has no bag"):
        find_bags([tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_bags([tmp_path / "nowhere"])


def test_one_bag_several_and_none(tmp_path: Path) -> None:
    one = write_bag(tmp_path / "shelf/one", images(1))
    (file,) = one.glob("*.mcap")
    split, shelf, pictures = tmp_path / "split", tmp_path / "shelf", tmp_path / "pictures"
    for folder in (split, pictures):
        folder.mkdir()
    for name in ("x_0.mcap", "x_1.mcap"):
        (split / name).write_bytes(b"")
    assert is_single_bag(split)
    lone, results = tmp_path / "lone", tmp_path / "lone/results"
    results.mkdir(parents=True)
    shutil.copy(file, lone)
    assert is_single_bag(lone, results)
    assert not is_single_bag(lone)
    (split / "x_7.mcap").write_bytes(b"")  # of another recording
    cv2.imwrite(str(pictures / "0.png"), images(1)[0])
    video = tmp_path / "drive.mp4"
    video.write_bytes(b"no bag")
    nameless = tmp_path / "recording"
    shutil.copy(file, nameless)
    asked = {
        path: (is_single_bag(path), holds_bag_data(path))
        for path in (one, file, nameless, split, shelf, pictures, video)
    }
    assert asked == {
        one: (True, True),
        file: (True, True),
        nameless: (True, True),
        split: (False, True),
        shelf: (False, False),  # its bags are in folders of their own
        pictures: (False, False),
        video: (True, False),  # who names a file means it
    }
    (one / "metadata.yaml").rename(pictures / "metadata.yaml")
    assert is_single_bag(pictures)
    assert holds_bag_data(pictures)
