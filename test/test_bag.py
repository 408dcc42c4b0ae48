"""Reading bags, whole ones and broken ones."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from bag_files import PERIOD, images, labels, split_bag, stamps, write_bag, write_ros1_bag
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode

from camss_ros.data.bag import Bag, BagError
from camss_ros.data.bag_index import MessageCursor, match_stamps, read_stamps
from camss_ros.data.image_encoding import ImageRejectedError
from camss_ros.evaluation.bag_frames import decode_image

FRAMES, TRUTHS = images(6), labels(6)


def read(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """The decodable images on /cam/image, and the warnings."""
    found = []
    with Bag(path) as bag:
        count = len(read_stamps(bag, ["/cam/image"])["/cam/image"])
        messages = bag.messages(["/cam/image"])
        for _ in range(count):
            try:
                found.append(decode_image(bag, next(messages)))
            except (BagError, ImageRejectedError) as error:
                bag.warnings.append(str(error))
        return found, bag.warnings


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        ("mcap", CompressionMode.NONE),
        ("mcap", CompressionMode.STORAGE),
        ("sqlite3", CompressionMode.NONE),
        ("sqlite3", CompressionMode.FILE),
        ("sqlite3", CompressionMode.MESSAGE),
    ],
)
def test_every_storage_gives_the_same_images(
    tmp_path: Path, storage: str, compression: CompressionMode
) -> None:
    path = write_bag(tmp_path / "bag", FRAMES, TRUTHS, storage, compression)
    found, warnings = read(path)
    assert_same(found, FRAMES)
    assert warnings == []
    with Bag(path) as bag:
        topics = [(topic.name, topic.messages) for topic in bag.topics]
        assert topics == [("/cam/image", 6), ("/cam/label", 6)]
        stamp = read_stamps(bag, ["/cam/image", "/cam/label"])
        assert stamp["/cam/image"].tolist() == stamp["/cam/label"].tolist() == stamps(6)


def test_a_ros1_bag_and_compressed_images_give_the_same_images(tmp_path: Path) -> None:
    assert_same(read(write_ros1_bag(tmp_path / "one.bag", FRAMES, TRUTHS))[0], FRAMES)
    path = write_bag(tmp_path / "bag", FRAMES, compressed=True)
    assert_same(read(path)[0], FRAMES)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_files_of_a_split_bag_without_metadata_are_read_in_order(
    tmp_path: Path, storage: str
) -> None:
    parts = [
        write_bag(tmp_path / f"part{i}", FRAMES[3 * i : 3 * i + 3], storage=storage)
        for i in range(2)
    ]
    found, warnings = read(split_bag(tmp_path / "split", parts))
    assert len(found) == 6
    assert any("metadata" in warning for warning in warnings)


def test_a_span_is_half_open(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", FRAMES)) as bag:
        times = stamps(6)
        messages = bag.messages(["/cam/image"], times[1], times[3])
        assert [message.log_time for message in messages] == times[1:3]


def test_a_missing_topic_lists_those_that_are_there(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", FRAMES, TRUTHS)) as bag:
        with pytest.raises(BagError, match="/nowhere is not there") as missing:
            bag.require("/nowhere")
        assert "/cam/image  sensor_msgs/msg/Image  6 messages" in str(missing.value)
        with pytest.raises(BagError, match="is of type sensor_msgs/msg/Image"):
            bag.require("/cam/image", ("sensor_msgs/msg/PointCloud2",))


def test_a_killed_recording_is_read_up_to_its_end(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", images(600)) / "bag.mcap"
    whole = path.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    found, warnings = read(cut)
    assert 200 < len(found) < 600
    assert_same(found, images(600)[: len(found)])
    assert any("ends" in warning for warning in warnings)


def test_a_damaged_chunk_is_passed_over(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", images(600), compression=CompressionMode.STORAGE)
    file = path / "bag.mcap"
    content = bytearray(file.read_bytes())
    # The beginning of a compressed chunk: in the middle pixels would change without a trace.
    second = content.index(b"\x28\xb5\x2f\xfd", len(content) // 4)
    content[second : second + 4] = bytes(4)
    file.write_bytes(content)
    found, warnings = read(path)
    assert 300 < len(found) < 600
    assert any("damaged" in warning for warning in warnings)


@pytest.mark.parametrize("name", ["empty.mcap", "empty.db3", "empty.bag", "text.mcap", "notes.txt"])
def test_what_is_no_bag_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if name.startswith("empty") else b"these are not the bytes of a bag")
    with pytest.raises(BagError, match=name):
        Bag(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Bag(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BagError, match="folder"):
        Bag(tmp_path / "folder")


@pytest.fixture(scope="module")
def whole_bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    write_bag(folder / "mcap", FRAMES[:3], TRUTHS[:3], compression=CompressionMode.STORAGE)
    write_bag(folder / "sqlite", FRAMES[:3], TRUTHS[:3], "sqlite3")
    write_ros1_bag(folder / "one.bag", FRAMES[:3], TRUTHS[:3])
    return {
        ".mcap": (folder / "mcap/mcap.mcap").read_bytes(),
        ".db3": (folder / "sqlite/sqlite.db3").read_bytes(),
        ".bag": (folder / "one.bag").read_bytes(),
    }


@settings(max_examples=60)
@given(
    suffix=st.sampled_from([".mcap", ".db3", ".bag"]),
    keep=st.floats(0, 1),
    damage=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=12)), max_size=4),
)
def test_a_broken_bag_is_read_or_refused(
    whole_bags: dict[str, bytes],
    suffix: str,
    keep: float,
    damage: list[tuple[float, bytes]],
) -> None:
    content = bytearray(whole_bags[suffix])
    for place, replacement in damage:
        start = int(place * len(content))
        content[start : start + len(replacement)] = replacement
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / f"broken{suffix}"
        path.write_bytes(content[: int(keep * len(content)) if keep < 0.9 else len(content)])
        try:
            found, _ = read(path)
        except BagError as error:
            assert path.name in str(error)  # noqa: PT017
        else:
            assert all(image.ndim == 3 for image in found)
    finally:
        shutil.rmtree(folder)


def test_labels_match_by_stamp() -> None:
    times = np.array([0, 100, 200, 300])
    assert match_stamps(times, np.array([200, 0]), 0).tolist() == [1, -1, 0, -1]
    assert match_stamps(times, np.array([105, 290]), 0).tolist() == [-1] * 4
    assert match_stamps(times, np.array([105, 290]), 10).tolist() == [-1, 0, -1, 1]
    # A label belongs to its nearest image only, an image takes its nearest label.
    assert match_stamps(times, np.array([104, 98]), 1000).tolist() == [-1, 1, -1, -1]
    # In any order, and halfway: the earlier one.
    assert match_stamps(times[::-1].copy(), np.array([50]), 50).tolist() == [-1, -1, -1, 0]
    assert match_stamps(times, np.array([], np.int64), 5).tolist() == [-1] * 4
    assert match_stamps(np.array([7]), np.array([9]), 2).tolist() == [0]


@given(
    st.lists(st.integers(0, 60), max_size=8),
    st.lists(st.integers(0, 60), max_size=8),
    st.integers(0, 70),
)
def test_no_label_is_used_twice(one: list[int], other: list[int], tolerance: int) -> None:
    pictures, truths = np.array(one, np.int64), np.array(other, np.int64)
    matched = match_stamps(pictures, truths, tolerance)
    used = matched[matched >= 0].tolist()
    assert len(used) == len(set(used))
    for image, label in enumerate(matched):
        if label >= 0:
            distance = abs(pictures[image] - truths[label])
            assert distance <= tolerance
            assert distance == np.abs(pictures - truths[label]).min()


def test_a_cursor_gets_messages_in_any_order(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", FRAMES, TRUTHS, label_shift=PERIOD // 2)) as bag:
        cursor = MessageCursor(bag, "/cam/label", None, None)
        times = [time + PERIOD // 2 for time in stamps(6)]
        for number in (0, 3, 3, 5, 1):
            assert cursor.get(number).log_time == times[number]
        with pytest.raises(BagError, match="message 6"):
            cursor.get(6)
