"""Bags that are written again with the masks of their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bag_files import SECOND, images, serialized, stamps
from mcap.writer import CompressionType, Writer

from camss_ros.bags.bag import Bag
from camss_ros.bags.bag_frames import BagSelection, read_stamps
from camss_ros.bags.bag_types import IMAGE, TF_MESSAGE, ros2_types
from camss_ros.bags.bag_writer import BagWriter, image_message
from camss_ros.bags.masks_bag import write_masks_bag

STRING = "std_msgs/msg/String"


def test_a_later_start_keeps_what_latched_topics_held(tmp_path: Path) -> None:
    types = ros2_types().types
    frames, times = images(6), stamps(6)
    with BagWriter(tmp_path / "bag") as writer:
        transforms = writer.add_topic("/tf_static", TF_MESSAGE, latched=True)
        latched = writer.add_topic("/robot_description", STRING, latched=True)
        other = writer.add_topic("/chatter", STRING)
        video = writer.add_topic("/cam/image", IMAGE, latched=True)
        for _ in "12":
            writer.write(transforms, types[TF_MESSAGE]([]), times[0])
        for number, (frame, stamp) in enumerate(zip(frames, times, strict=True)):
            for topic in (latched, other):
                if number != 3:
                    writer.write(topic, types[STRING](str(number)), stamp)
            writer.write(video, image_message(frame, "rgb8", stamp, "camera"), stamp)
    with Bag(tmp_path / "bag") as bag:
        camera = BagSelection("/cam/image", start=0.3), lambda number: tmp_path / "no mask"
        assert write_masks_bag(bag, tmp_path / "again", [camera], []) == []
    found: dict[str, list[tuple[int, str]]] = {}
    with Bag(tmp_path / "again") as bag:
        for message in bag.messages():
            text = bag.decode(message).data if message.type == STRING else ""
            found.setdefault(message.topic, []).append((message.log_time - 100 * SECOND, text))
    tenth = SECOND // 10
    assert found == {
        "/cam/segmentation/label_info": [(3 * tenth, "")],
        "/tf_static": [(3 * tenth, "")] * 2,  # transforms add up
        "/robot_description": [(3 * tenth, "2"), (4 * tenth, "4"), (5 * tenth, "5")],
        "/chatter": [(4 * tenth, "4"), (5 * tenth, "5")],
        "/cam/image": [(number * tenth, "") for number in (3, 4, 5)],
    }


def test_a_damaged_part_of_another_topic_costs_that_part(tmp_path: Path) -> None:
    store, path = ros2_types(), tmp_path / "bag.mcap"
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=1, compression=CompressionType.NONE)  # a chunk a message
        writer.start("ros2", "test")
        definition = store.generate_msgdef(IMAGE, ros_version=2)[0].encode()
        schema = writer.register_schema(IMAGE, "ros2msg", definition)
        channels = [writer.register_channel(name, "cdr", schema) for name in ("/cam/image", "/b")]
        for number, (frame, stamp) in enumerate(zip(images(6), stamps(6), strict=True)):
            for channel, pixels in zip(channels, (frame, np.full_like(frame, number)), strict=True):
                writer.add_message(channel, stamp, serialized(pixels, stamp), stamp)
        writer.finish()
    path.write_bytes(path.read_bytes().replace(b"\x02" * 1000, b"?" * 1000))
    camera = BagSelection("/cam/image"), lambda number: tmp_path / "no mask"
    with Bag(path) as bag:
        assert read_stamps(bag, ["/cam/image"])["/cam/image"].tolist() == stamps(6)
        (note,) = write_masks_bag(bag, tmp_path / "again", [camera], [])
    assert "is damaged" in note
    with Bag(tmp_path / "again") as bag:
        found = [(message.topic, message.log_time) for message in bag.messages()]
    for topic, expected in (("/cam/image", stamps(6)), ("/b", [*stamps(2), *stamps(6)[3:]])):
        assert [time for name, time in found if name == topic] == expected
