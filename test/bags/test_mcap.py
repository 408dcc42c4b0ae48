"""MCAP files as other writers leave them: each part of the index is optional."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from bag_files import SECOND, images, labels, serialized, serialized_ros1, stamps
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.interfaces import QosDurability

from camss_ros.bags.bag import Bag, BagError
from camss_ros.bags.bag_frames import BagSelection, decode_image, decode_labels, read_stamps
from camss_ros.bags.bag_types import IMAGE, ros1_types, ros2_types
from camss_ros.bags.masks_bag import write_masks_bag

FRAMES, TRUTHS = images(6), labels(6)
INDEXES = (
    IndexType.NONE,
    IndexType.CHUNK,
    IndexType.MESSAGE,
    IndexType.CHUNK | IndexType.MESSAGE,
    IndexType.ALL,
)
_QOS = """- history: 1
  depth: 1
  reliability: 1
  durability: 1
  deadline: {sec: 0, nsec: 0}
  lifespan: {sec: 0, nsec: 0}
  liveliness: 1
  liveliness_lease_duration: {sec: 0, nsec: 0}
  avoid_ros_namespace_conventions: false
"""


def write_mcap(
    path: Path, profile: str = "ros2", qos: str = "", idl: str = "", **options: object
) -> Path:
    """/cam/image and /cam/label, six messages each, in chunks of two or three messages.

    `idl`: the definition of one more, on /speed.
    """
    store = ros2_types()
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=10_000, **options)  # type: ignore[arg-type]
        writer.start(profile, "test")
        definition = store.generate_msgdef(IMAGE, ros_version=2)[0].encode()
        schema = writer.register_schema(IMAGE, "ros2msg", definition)
        channels = [
            writer.register_channel(name, "cdr", schema, {"offered_qos_profiles": qos})
            for name in ("/cam/image", "/cam/label")
        ]
        for frame, truth, stamp in zip(FRAMES, TRUTHS, stamps(6), strict=True):
            for channel, pixels in zip(channels, (frame, truth), strict=True):
                writer.add_message(channel, stamp, serialized(pixels, stamp), stamp)
        if idl:
            schema = writer.register_schema("own_msgs/msg/Speed", "ros2idl", idl.encode())
            channel = writer.register_channel("/speed", "cdr", schema)
            writer.add_message(channel, stamps(1)[0], b"speed", 0)
        writer.finish()
    return path


def assert_whole(path: Path) -> None:
    with Bag(path) as bag:
        assert [(t.name, t.type, t.messages) for t in bag.topics] == [
            ("/cam/image", IMAGE, 6),
            ("/cam/label", IMAGE, 6),
        ]
        assert bag.start_time == stamps(6)[0]
        found = read_stamps(bag, ["/cam/image", "/cam/label"])
        assert found["/cam/image"].tolist() == found["/cam/label"].tolist() == stamps(6)
        # Both at once, as an evaluation reads them.
        pairs = zip(bag.messages(["/cam/image"]), bag.messages(["/cam/label"]), strict=True)
        for (image, label), frame, truth in zip(pairs, FRAMES, TRUTHS, strict=True):
            np.testing.assert_array_equal(decode_image(bag, image), frame)
            np.testing.assert_array_equal(decode_labels(bag, label), truth)
        late = bag.messages(["/cam/image"], start=stamps(6)[4])
        assert [message.log_time for message in late] == stamps(6)[4:]
        span = bag.messages(["/cam/image"], stamps(6)[1], stamps(6)[3])
        assert [message.log_time for message in span] == stamps(6)[1:3]
        assert bag.warnings == []


SWITCHES = (
    "use_chunking", "use_statistics", "use_summary_offsets", "repeat_channels", "repeat_schemas",
)  # fmt: skip


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("values", [*itertools.product((True, False), repeat=len(SWITCHES))])
def test_no_part_of_the_index_is_needed(
    tmp_path: Path, compression: CompressionType, index: IndexType, values: tuple[bool, ...]
) -> None:
    switches = dict(zip(SWITCHES, values, strict=True))
    path = tmp_path / "bag.mcap"
    assert_whole(write_mcap(path, compression=compression, index_types=index, **switches))


def test_the_quality_of_service_is_kept_without_an_index(tmp_path: Path) -> None:
    for index in (IndexType.ALL, IndexType.NONE):
        with Bag(write_mcap(tmp_path / "bag.mcap", qos=_QOS, index_types=index)) as bag:
            for connection in bag.connections:
                (qos,) = connection.ext.offered_qos_profiles  # type: ignore[union-attr]
                assert qos.durability == QosDurability.TRANSIENT_LOCAL


def test_files_of_other_profiles_and_channels_are_read(tmp_path: Path) -> None:
    assert_whole(write_mcap(tmp_path / "none.mcap", profile=""))
    path = tmp_path / "foreign.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2", "test")
        schema = writer.register_schema("foxglove.CompressedImage", "protobuf", b"")
        channel = writer.register_channel("/cam", "protobuf", schema)
        writer.add_message(channel, SECOND, b"pixels", SECOND)
        writer.finish()
    with pytest.raises(BagError, match="/cam is left out: its messages are encoded as 'protobuf'"):
        Bag(path)


_SPEED_IDL = """// A comment, and a file that is included
#include "own_msgs/msg/Unit.idl"

module own_msgs {
  module msg {
    struct Speed {
      double value;
      own_msgs::msg::Unit unit;
    };
  };
};
"""
_UNIT_IDL = "module own_msgs { module msg { struct Unit { octet id; }; }; };\n"
_LINE = "=" * 80
_RECORDED = "".join(
    f"{_LINE}\nIDL: own_msgs/msg/{name}\n{text}"
    for name, text in (("Speed", _SPEED_IDL), ("Unit", _UNIT_IDL))
)


@pytest.mark.parametrize(
    ("definition", "written"),
    [
        pytest.param(_RECORDED, _RECORDED, id="of rosbag2"),
        pytest.param(
            _UNIT_IDL.replace("Unit", "Speed"),
            f"{_LINE}\nIDL: own_msgs/msg/Speed\n{_UNIT_IDL.replace('Unit', 'Speed')}",
            id="without a title",
        ),
    ],
)
def test_types_of_idl_files_are_written_again_as_such(
    tmp_path: Path, definition: str, written: str
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", idl=definition)
    with Bag(path) as bag:
        selection = BagSelection("/cam/image")
        missing = tmp_path / "missing"
        assert write_masks_bag(bag, tmp_path / "copy", [(selection, lambda _: missing)], ()) == []
    with (tmp_path / "copy/copy.mcap").open("rb") as file:
        reader = make_reader(file)
        ((schema, _, message),) = reader.iter_messages(["/speed"])
    assert schema is not None
    assert (schema.name, schema.encoding) == ("own_msgs/msg/Speed", "ros2idl")
    assert schema.data.decode() == written
    assert message.data == b"speed"


def test_messages_of_ros1_are_read_and_written_again(tmp_path: Path) -> None:
    store = ros1_types()
    path = tmp_path / "one.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros1", "test")
        definition = store.generate_msgdef(IMAGE, ros_version=1)[0].encode()
        schema = writer.register_schema("sensor_msgs/Image", "ros1msg", definition)
        channel, other = (
            writer.register_channel("/cam/image", "ros1", schema, {"latching": "1"}) for _ in "12"
        )
        for number, (frame, stamp) in enumerate(zip(FRAMES, stamps(6), strict=True)):
            data = serialized_ros1(frame, stamp)
            writer.add_message(channel if number else other, 500 * SECOND + number, data, 0)
        writer.finish()
    with Bag(path) as bag:
        assert read_stamps(bag, [bag.require("/cam/image")])["/cam/image"].tolist() == stamps(6)
        for message, frame in zip(bag.messages(), FRAMES, strict=True):
            np.testing.assert_array_equal(decode_image(bag, message), frame)
        assert bag.warnings == []
        camera = BagSelection("/cam/image"), lambda number: tmp_path / "no mask"
        assert write_masks_bag(bag, tmp_path / "again", [camera], []) == []
    with Bag(tmp_path / "again") as bag:
        (topic,) = (c for c in bag.connections if c.topic == "/cam/image")
        latched = [qos.durability for qos in topic.ext.offered_qos_profiles]
        assert latched == [QosDurability.TRANSIENT_LOCAL] * 2  # one for each publisher
        for message, frame in zip(bag.messages(["/cam/image"]), FRAMES, strict=True):
            np.testing.assert_array_equal(decode_image(bag, message), frame)
