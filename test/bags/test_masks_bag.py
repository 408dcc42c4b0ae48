"""Bags that are written again with the masks of their images."""

from __future__ import annotations

from pathlib import Path

from bag_files import SECOND, images, stamps

from camss_ros.bags.bag import Bag
from camss_ros.bags.bag_frames import BagSelection
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
