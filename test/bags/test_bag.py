"""Reading bags, whole ones and broken ones."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from bag_files import (
    PERIOD,
    images,
    labels,
    split_bag,
    stamps,
    two_types,
    write_bag,
    write_ros1_bag,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode

from camss_ros.bags.bag import Bag, BagError
from camss_ros.bags.bag_frames import (
    DEFAULT_FPS,
    BagFrames,
    BagSelection,
    MessageCursor,
    decode_image,
    match_stamps,
    read_stamps,
)
from camss_ros.bags.bag_types import (
    COMPRESSED_IMAGE,
    IMAGE,
    header_stamp,
    make_header,
    ros1_types,
    ros2_types,
)
from camss_ros.images.encodings import ImageRejectedError
from camss_ros.images.label_sets import load_label_set

FRAMES, TRUTHS = images(6), labels(6)
VALUES = load_label_set("camvid11").from_file_values()


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


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("metadata", [True, False])
def test_compressed_bags_need_no_metadata(
    tmp_path: Path, storage: str, mode: CompressionMode, metadata: bool
) -> None:
    path = write_bag(tmp_path / "bag", FRAMES, TRUTHS, storage, mode)
    (file,) = (p for p in path.iterdir() if p.suffix != ".yaml")
    assert file.name.endswith(".zstd") == (mode == CompressionMode.FILE)
    if not metadata:
        (path / "metadata.yaml").unlink()
    for bag in (path, file):
        found, warnings = read(bag)
        assert_same(found, FRAMES)
        assert len(warnings) == (bag == path and not metadata)


def test_a_compressed_file_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", images(600), compression=CompressionMode.FILE)
    (file,) = path.glob("*.zstd")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    found, warnings = read(path)
    assert 200 < len(found) < 400
    assert_same(found, images(600)[: len(found)])
    assert any("compression is damaged" in warning for warning in warnings)
    assert any("says 600 messages" in warning for warning in warnings)


def test_a_damaged_compressed_message_costs_itself_alone(tmp_path: Path) -> None:
    path = write_bag(
        tmp_path / "bag", FRAMES, storage="sqlite3", compression=CompressionMode.MESSAGE
    )
    with closing(sqlite3.connect(path / "bag.db3")) as database, database:
        database.execute("UPDATE messages SET data = substr(data, 1, 50) WHERE id = 2")
    found, warnings = read(path)
    assert_same(found, [FRAMES[0], *FRAMES[2:]])
    assert len(warnings) == 1


@pytest.mark.parametrize("mode", ["wal", "persist"])
@pytest.mark.parametrize("name", ["bag.db3", "recording"])
def test_a_killed_recorder_of_sqlite_leaves_its_journal(
    tmp_path: Path, mode: str, name: str
) -> None:
    path = write_bag(tmp_path / "bag", FRAMES, storage="sqlite3")
    live, left = tmp_path / "live.db3", tmp_path / "left"
    shutil.copy(path / "bag.db3", live)
    left.mkdir()
    with closing(sqlite3.connect(live, isolation_level=None)) as recorder:
        recorder.execute(f"PRAGMA journal_mode = {mode}")
        recorder.execute("PRAGMA cache_size = 1")  # an open transaction is on the disk too
        rows = recorder.execute("SELECT * FROM messages WHERE id > 2").fetchall()
        recorder.execute("DELETE FROM messages WHERE id > 2")
        if mode == "wal":
            recorder.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            recorder.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
        else:
            recorder.execute("BEGIN")
            recorder.execute("UPDATE messages SET data = zeroblob(5000)")
        for file in tmp_path.glob("live.db3*"):  # as they lie there when it is killed
            if not file.name.endswith("-shm"):
                shutil.copy(file, left / file.name.replace("live.db3", name))
    before = {file.name: file.read_bytes() for file in left.iterdir()}
    assert len(before) == 2
    expected = FRAMES if mode == "wal" else FRAMES[:2]
    for bag in (left / name, left):
        assert_same(read(bag)[0], expected)
    assert {file.name: file.read_bytes() for file in left.iterdir()} == before


def test_the_first_bytes_say_what_a_file_is(tmp_path: Path) -> None:
    sources = (
        write_bag(tmp_path / "mcap", FRAMES[:2]) / "mcap.mcap",
        write_bag(tmp_path / "sqlite", FRAMES[:2], storage="sqlite3") / "sqlite.db3",
        write_ros1_bag(tmp_path / "one.bag", FRAMES[:2], TRUTHS[:2]),
    )
    for name in ("recording", "12:30 #1?%41", "x.db3", "x.mcap", "x.bag"):
        for source in sources:
            path = tmp_path / name
            shutil.copy(source, path)
            found, warnings = read(path)
            assert_same(found, FRAMES[:2])
            assert warnings == []


def test_a_bag_folder_tells_what_is_missing(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", FRAMES, storage="sqlite3")
    with closing(sqlite3.connect(path / "bag.db3")) as database, database:
        database.execute("DELETE FROM messages WHERE id > 4")
    found, warnings = read(path)
    assert_same(found, FRAMES[:4])
    assert warnings == [f"'{path}': metadata.yaml says 6 messages, 4 are there"]
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("- bag.db3", "- bag.db3\n  - bag_1.db3"))
    found, warnings = read(path)
    assert_same(found, FRAMES[:4])
    assert "not there: bag_1.db3" in warnings[0]
    (path / "._bag.db3").write_bytes(b"\0\5\x16\7")  # of macOS
    assert_same(read(path)[0], FRAMES[:4])


def test_a_bag_that_is_still_recorded_is_sent_to_reindex(tmp_path: Path) -> None:
    whole = write_ros1_bag(tmp_path / "one.bag", FRAMES, TRUTHS).read_bytes()
    path = tmp_path / "one.bag.active"
    # The recorder writes the place of the index at last.
    place = whole.index(b"index_pos=") + len(b"index_pos=")
    path.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
    with pytest.raises(BagError, match=r"rosbag reindex one\.bag\.active"):
        Bag(path)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_of_two_types_on_a_topic_the_images_are_taken(tmp_path: Path, storage: str) -> None:
    path = two_types(tmp_path / "bag", storage, "sensor_msgs/msg/Range", 3)
    with Bag(path) as bag:
        topic = bag.require("/cam/image")
        assert (topic.type, topic.messages) == (IMAGE, 6)
        assert read_stamps(bag, [topic])["/cam/image"].tolist() == stamps(6)
        assert {message.type for message in bag.messages([topic])} == {IMAGE}
        (warning,) = bag.warnings
        assert "sensor_msgs/msg/Range (3 messages)" in warning
    path = two_types(tmp_path / "both", storage, COMPRESSED_IMAGE, 3)
    with Bag(path) as bag, pytest.raises(BagError, match="/cam/image has messages of several") as e:
        bag.require("/cam/image")
    assert "CompressedImage (3 messages), sensor_msgs/msg/Image (6 messages)" in str(e.value)


def test_a_span_is_half_open(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", FRAMES)) as bag:
        times = stamps(6)
        messages = bag.messages(["/cam/image"], times[1], times[3])
        assert [message.log_time for message in messages] == times[1:3]


def test_a_closed_bag_says_so_instead_of_being_empty_or_damaged(tmp_path: Path) -> None:
    with Bag(str(write_bag(tmp_path / "bag", FRAMES))) as bag:
        messages = bag.messages()
    for read in (
        lambda: next(messages), lambda: list(bag.messages()), lambda: bag.topics,
        lambda: bag.start_time, lambda: bag.require("/cam/image"),
    ):  # fmt: skip
        with pytest.raises(BagError, match="bag' is closed"):
            read()


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
    # A log that was played twice while it was recorded, once without a label.
    again = np.tile(times, 2)
    assert match_stamps(again, again, 0).tolist() == list(range(8))
    some = match_stamps(again, np.array([0, 100, 0, 200]), 0)
    assert some.tolist() == [0, 1, 3, -1, 2, -1, -1, -1]


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


def test_frames_say_how_many_and_how_fast_they_are(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", FRAMES, TRUTHS, label_shift=PERIOD // 5)
    with Bag(path) as bag:

        def chosen(**selection: float) -> BagFrames:
            selected = BagSelection("/cam/image", "/cam/label", **selection)  # type: ignore[arg-type]
            return BagFrames(bag, selected, VALUES)

        second = chosen(every=2)
        assert (second.expected, second.fps) == (3, pytest.approx(5))
        assert chosen(duration=0.05).fps == DEFAULT_FPS
        near, nearer = chosen(tolerance=0.02), chosen(tolerance=0.019)
        assert (near.labelled, near.labels_without_image) == (True, 0)
        assert (nearer.labelled, nearer.labels_without_image) == (False, 6)


def test_a_label_that_is_no_message_costs_its_frame_nothing_else(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", FRAMES[:2], TRUTHS[:2], change=lambda _, data: data[:40])
    with Bag(path) as bag:
        frames = BagFrames(bag, BagSelection("/cam/label", "/cam/image"), VALUES)
        for _ in range(2):
            assert [frame.label for frame in frames] == [None, None]
            assert frames.faults.counts == {"/cam/image: message": 2}


@given(stamp=st.integers(1, 2**31 * 10**9 - 1), little_endian=st.booleans())
def test_the_stamp_of_a_header_is_read_as_rosbags_writes_it(
    stamp: int, little_endian: bool
) -> None:
    message = ros2_types().types[COMPRESSED_IMAGE](
        header=make_header(stamp, "camera"), format="png", data=np.zeros(2, np.uint8)
    )
    data = bytes(ros2_types().serialize_cdr(message, COMPRESSED_IMAGE, little_endian=little_endian))
    assert header_stamp(data, ros1=False) == stamp
    assert header_stamp(data[:11], ros1=False) is None
    header = ros1_types().types["std_msgs/msg/Header"](
        seq=9, stamp=make_header(stamp, "").stamp, frame_id="camera"
    )
    first = ros1_types().types[COMPRESSED_IMAGE](header, "png", message.data)
    assert header_stamp(bytes(ros1_types().serialize_ros1(first, COMPRESSED_IMAGE)), True) == stamp


def test_the_log_time_stands_in_for_a_stamp_that_was_never_set(tmp_path: Path) -> None:
    path = write_bag(
        tmp_path / "bag", FRAMES[:3], change=lambda _, data: data[:4] + bytes(8) + data[12:]
    )
    with Bag(path) as bag:
        assert read_stamps(bag, ["/cam/image"])["/cam/image"].tolist() == stamps(3)


def test_a_cursor_gets_messages_in_any_order(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", FRAMES, TRUTHS, label_shift=PERIOD // 2)) as bag:
        cursor = MessageCursor(bag, bag.require("/cam/label"), None, None)
        times = [time + PERIOD // 2 for time in stamps(6)]
        for number in (0, 3, 3, 5, 1):
            assert cursor.get(number).log_time == times[number]
        with pytest.raises(BagError, match="message 6"):
            cursor.get(6)
