"""Calibrations and transforms of bags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_files import SECOND
from rosbags.rosbag1 import Writer

from camss_ros.bags.bag import Bag
from camss_ros.bags.bag_types import CAMERA_INFO, TF_MESSAGE, make_header, ros1_types, ros2_types
from camss_ros.bags.bag_writer import BagWriter
from camss_ros.evaluation.bag_geometry import read_camera, read_static_frames
from camss_ros.projection.errors import ProjectionRejectedError


def test_those_of_ros_1_are_read(tmp_path: Path) -> None:
    store = ros1_types()
    types = store.types
    time = types["builtin_interfaces/msg/Time"](100, 0)
    header = {name: types["std_msgs/msg/Header"](0, time, name) for name in ("/base", "/camera")}
    info = types[CAMERA_INFO](
        header["/camera"], 48, 64, "plumb_bob", np.array([-0.1, 0, 0, 0, 0]),
        np.array([50.0, 0, 31, 0, 51, 23, 0, 0, 1]), np.eye(3).reshape(-1), np.zeros(12), 0, 0,
        types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )  # fmt: skip
    static = types[TF_MESSAGE]([_stamped(types, header["/base"], "/camera", 1.5)])
    path = tmp_path / "old.bag"
    with Writer(path) as writer:
        for topic, kind, message in (
            ("/camera_info", CAMERA_INFO, info), ("/tf_static", TF_MESSAGE, static),
        ):  # fmt: skip
            connection = writer.add_connection(topic, kind, typestore=store)
            writer.write(connection, 100 * SECOND, store.serialize_ros1(message, kind))
    with Bag(path) as bag:
        camera, frame = read_camera(bag, "/camera_info", rectified=False)
        matrix = read_static_frames(bag).between("base", frame)
        assert bag.warnings == []
        with pytest.raises(ProjectionRejectedError, match="P of camera_info"):
            read_camera(bag, "/camera_info", rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (50, 51, 31, 23)
    assert camera.distortion[0] == -0.1
    assert matrix[:3, 3].tolist() == [0, 0, 1.5]


def test_a_transform_that_cannot_be_is_noted_and_the_others_are_known(tmp_path: Path) -> None:
    types = ros2_types().types
    with BagWriter(tmp_path / "bag") as writer:
        topic = writer.add_topic("/tf_static", TF_MESSAGE, latched=True)
        for child, height in (("broken", float("nan")), ("camera", 2.0)):
            stamped = _stamped(types, make_header(0, "base"), child, height)
            writer.write(topic, types[TF_MESSAGE]([stamped]), SECOND)
    with Bag(tmp_path / "bag") as bag:
        frames = read_static_frames(bag)
        assert len(bag.warnings) == 1
        assert "/tf_static: [0.0, 0.0, nan] is no translation" in bag.warnings[0]
    assert frames.between("base", "camera")[2, 3] == 2.0


def _stamped(types: Any, header: Any, child: str, height: float) -> Any:
    moved = types["geometry_msgs/msg/Transform"](
        types["geometry_msgs/msg/Vector3"](0.0, 0.0, height),
        types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
    )
    return types["geometry_msgs/msg/TransformStamped"](header, child, moved)
