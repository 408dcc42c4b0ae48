"""Bags with arbitrary broken messages and broken files: never a traceback, what is good is kept."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import SIZE, images, labels, serialized, stamps, write_bag, write_ros1_bag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from typer.testing import CliRunner, Result

from camss_ros.bags.bag_types import COMPRESSED_IMAGE, IMAGE, make_header, ros2_types
from camss_ros.bags.bag_writer import image_message
from camss_ros.cli import app
from camss_ros.images.encodings import ENCODINGS

FRAMES, TRUTHS = images(5), labels(5)
SLOW = [HealthCheck.too_slow]  # a loaded machine is


@contextmanager
def folder() -> Iterator[Path]:
    """A new one for each example."""
    path = Path(tempfile.mkdtemp())
    try:
        yield path
    finally:
        shutil.rmtree(path)


def run(model: Path, bag: Path, output: Path, *arguments: object) -> Result:
    command = ["evaluate-bag", bag, "--image", "/cam/image", "--labels", "/cam/label", "--output",
               output, "--model", model, "--device", "cpu", "--backend", "torch",
               *arguments]  # fmt: skip
    return CliRunner().invoke(app, list(map(str, command)))


def assert_said(result: Result) -> None:
    """It ended as intended: with a message, not with an exception."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1)
    assert "Traceback" not in result.output


# Messages

Change = Callable[[bytes], bytes]
_places = st.floats(0, 1, exclude_max=True)


def cut(keep: float) -> Change:
    return lambda data: data[: int(keep * len(data))]


def overwrite(place: float, values: bytes) -> Change:
    def change(data: bytes) -> bytes:
        start = int(place * len(data))
        return (data[:start] + values + data[start + len(values) :])[: len(data)]

    return change


# Beginnings are hit more often: there are the header, the fields, and those of JPEG and PNG.
damage: st.SearchStrategy[Change] = st.one_of(
    st.builds(cut, _places),
    st.builds(overwrite, st.one_of(_places, st.floats(0, 0.03)), st.binary(min_size=1, max_size=8)),
)
_sizes = st.one_of(st.integers(0, 9), st.sampled_from([2**16, 2**31 - 1, 2**32 - 1]))
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def raw_fields(draw: st.DrawFn) -> bytes:
    """An Image with anything in its fields."""
    message = image_message(np.zeros((1, 1), np.uint8), "mono8", draw(st.integers(0, 2**60)), "c")
    message.encoding = draw(st.one_of(st.sampled_from(ENCODINGS), _texts))
    message.height, message.width, message.step = draw(st.tuples(_sizes, _sizes, _sizes))
    message.is_bigendian = draw(st.integers(0, 255))
    message.data = np.frombuffer(draw(st.binary(max_size=300)), np.uint8)
    return bytes(ros2_types().serialize_cdr(message, IMAGE))


@st.composite
def compressed_fields(draw: st.DrawFn) -> bytes:
    """A CompressedImage of any format with a damaged or made-up file."""
    _, file = cv2.imencode(draw(st.sampled_from([".jpg", ".png", ".bmp", ".webp"])), FRAMES[0])
    data = draw(
        st.one_of(damage.map(lambda change: change(file.tobytes())), st.binary(max_size=40))
    )
    prefixes = st.sampled_from(["", "jpeg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png"])
    message = ros2_types().types[COMPRESSED_IMAGE](
        header=make_header(draw(st.integers(0, 2**60)), draw(_texts)),
        format=draw(st.one_of(prefixes, _texts)),
        data=np.frombuffer(data, np.uint8),
    )
    return bytes(ros2_types().serialize_cdr(message, COMPRESSED_IMAGE))


@st.composite
def broken_messages(draw: st.DrawFn) -> tuple[bool, list[bytes], list[bytes]]:
    """Whether the topics are of CompressedImage, what lies on the image topic between two good
    frames, and what on the label topic at the same times."""
    compressed = draw(st.booleans())
    text = ros2_types().types["std_msgs/msg/String"](data="not an image")
    foreign = bytes(ros2_types().serialize_cdr(text, "std_msgs/msg/String"))
    fields = compressed_fields() if compressed else raw_fields()
    anything = st.one_of(fields, damage.map(lambda c: c(serialized(FRAMES[1], 5, compressed))),
                         st.binary(max_size=60), st.just(foreign))  # fmt: skip
    damaged_labels = damage.map(lambda change: change(serialized(TRUTHS[1], 5, compressed)))
    lists = st.lists(anything, min_size=1, max_size=8)
    return compressed, draw(lists), draw(st.lists(st.one_of(anything, damaged_labels), max_size=8))


def write_messages(path: Path, compressed: bool, broken: list[bytes], bad: list[bytes]) -> Path:
    """Good frames and labels before and after `broken` ones; a stamp in a message may be any."""
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    times = stamps(len(broken) + 2)
    good = {0: times[0], len(broken) + 1: times[-1]}
    with writer:
        kind = COMPRESSED_IMAGE if compressed else IMAGE
        topics = [
            writer.add_connection(name, kind, typestore=ros2_types())
            for name in ("/cam/image", "/cam/label")
        ]
        for number, time in enumerate(times):
            if number in good:
                which = 0 if number == 0 else 4
                pair = [serialized(p[which], time, compressed) for p in (FRAMES, TRUTHS)]
            else:
                pair = [broken[number - 1], *bad[number - 1 : number]]
            for topic, data in zip(topics, pair, strict=False):
                writer.write(topic, time, data)
    return path


@settings(max_examples=12, suppress_health_check=SLOW)
@given(messages=broken_messages(), write=st.booleans())
def test_broken_messages_are_named_and_the_good_frames_kept(
    small_model: Path, messages: tuple[bool, list[bytes], list[bytes]], write: bool
) -> None:
    with folder() as path:
        bag = write_messages(path / "bag", *messages)
        result = run(small_model, bag, path / "out", *(["--write-bag"] if write else []))
        assert_said(result)
        assert result.exit_code == 0, result.output
        metrics = json.loads((path / "out/metrics.json").read_text())
        passed_over = metrics["passed_over"]
        count = len(messages[1]) + 2
        assert metrics["frames"] + passed_over["frames"] == count
        assert metrics["labelled_frames"] >= 2
        # Two good ones of the usual size among what may be read.
        names = [
            json.loads(line)["name"]
            for line in (path / "out/frames.jsonl").read_text().splitlines()
        ]
        last = f"{count - 1:06d}_"
        assert names[0].startswith("000000_")
        assert names[-1].startswith(last)
        masks = [cv2.imread(str(path / f"out/masks/{n}.png"), -1) for n in names]
        assert masks[0].shape == masks[-1].shape == SIZE
        assert len(passed_over["first"]) == sum(passed_over["by_reason"].values()) <= 20
        for line in passed_over["first"]:
            assert re.match(r"/cam/(image|label), message \d+, stamp -?\d+\.\d{9}: .", line)
            assert line in result.output


# Files


@pytest.fixture(scope="module")
def whole_bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bag of every kind: folders, and one file."""
    made = tmp_path_factory.mktemp("whole")
    chunked = CompressionMode.STORAGE
    return {
        "mcap": write_bag(made / "mcap", FRAMES, TRUTHS),
        "chunked": write_bag(made / "chunked", FRAMES, TRUTHS, compression=chunked),
        "sqlite3": write_bag(made / "sqlite3", FRAMES, TRUTHS, "sqlite3"),
        "one.bag": write_ros1_bag(made / "one.bag", FRAMES, TRUTHS),
    }


@settings(max_examples=20, suppress_health_check=SLOW)
@given(
    kind=st.sampled_from(["mcap", "chunked", "sqlite3", "one.bag"]),
    metadata=st.booleans(),
    changes=st.lists(damage, min_size=1, max_size=3),
    write=st.booleans(),
)
def test_broken_files_are_read_or_refused_by_name(
    whole_bags: dict[str, Path],
    small_model: Path,
    kind: str,
    metadata: bool,
    changes: list[Change],
    write: bool,
) -> None:
    with folder() as path:
        bag = path / kind
        if whole_bags[kind].is_dir():
            shutil.copytree(whole_bags[kind], bag)
            (storage,) = (p for p in bag.iterdir() if p.name != "metadata.yaml")
            broken = bag / "metadata.yaml" if metadata else storage
        else:
            broken = Path(shutil.copy(whole_bags[kind], bag))
        content = broken.read_bytes()
        for change in changes:
            content = change(content)
        broken.write_bytes(content)
        result = run(small_model, bag, path / "out", *(["--write-bag"] if write else []))
        assert_said(result)
        if result.exit_code == 0:
            metrics = json.loads((path / "out/metrics.json").read_text())
            assert metrics["complete"]
            assert len(list((path / "out/masks").iterdir())) == metrics["frames"] > 0
        else:
            assert str(bag) in result.output.replace("\n", "")
