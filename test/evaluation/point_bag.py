"""A bag of the synthetic street with depth images, and a lidar that sees some of their points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bag_files import stamps

from camss_ros.bags.bag_types import (
    CAMERA_INFO,
    IMAGE,
    POINT_CLOUD,
    TF_MESSAGE,
    make_header,
    ros2_types,
)
from camss_ros.bags.bag_writer import BagWriter, image_message
from camss_ros.evaluation.street_camera import camera_of
from camss_ros.images.message_fields import pinhole
from camss_ros.projection.transforms import apply, transform
from camss_ros.street.synthetic import SyntheticStreet

SIZE = (120, 160)
BASE_TO_CAMERA = ((0.1, 1.2, -0.4), (0.5, -0.5, 0.5, 0.5))
LIDAR_TO_BASE = ((0.3, 0.0, 1.8), (0.0, 0.0, 0.2, 0.9797959))
LIDAR_TO_CAMERA = transform(*BASE_TO_CAMERA) @ transform(*LIDAR_TO_BASE)
_POINT = np.dtype({"names": ["intensity", "z", "y", "x"], "formats": ["<u2", "<f4", "<f4", "<f8"],
                   "offsets": [0, 4, 8, 16], "itemsize": 28})  # fmt: skip
BEHIND = 40  # points of a cloud that no camera sees


@dataclass
class Scene:
    """`lidar`: for each frame the pixels of which the lidar sees a point."""

    images: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    depths: list[np.ndarray] = field(default_factory=list)
    lidar: list[np.ndarray] = field(default_factory=list)


def street_scene(count: int = 3) -> Scene:
    street = SyntheticStreet(seed=2, height=SIZE[0], width=SIZE[1])
    scene, rng = Scene(), np.random.default_rng(5)
    for i in range(count):
        image, labels, depth = street.frame_with_depth(20 * i)
        labels = labels.copy()
        labels[:, :7] = 255  # nobody has labelled these
        scene.images.append(image)
        scene.labels.append(labels)
        scene.depths.append(depth)
        known = np.flatnonzero(~np.isnan(depth))
        scene.lidar.append(rng.choice(known, 900, replace=False))
    return scene


def write_points_bag(
    path: Path,
    scene: Scene,
    *,
    with_info: bool = True,
    with_tf: bool = True,
    depth: Callable[[int, Any], Any] = lambda i, message: message,
    depth_topic: str = "/front/depth",
    depth_frame: str = "camera",
    cloud_frame: str = "lidar",
    lidar_late: int = 0,
    cloud: Callable[[int, Any], Any] = lambda i, message: message,
) -> Path:
    """/front/image, /front/label, /front/camera_info, `depth_topic`, /points and /tf_static.

    `depth`, `cloud`: change the message of a number; `lidar_late`: ns by which the stamps of the
    clouds are later.
    """
    camera = camera_of(SyntheticStreet(height=SIZE[0], width=SIZE[1]).camera(0))
    with BagWriter(path) as bag:
        topics = {
            name: bag.add_topic(name, kind)
            for name, kind in (
                ("/front/image", IMAGE), ("/front/label", IMAGE), (depth_topic, IMAGE),
                ("/points", POINT_CLOUD),
            )
        }  # fmt: skip
        first = stamps(1)[0]
        if with_tf:
            static = bag.add_topic("/tf_static", TF_MESSAGE, latched=True)
            bag.write(static, _static("base", "lidar", LIDAR_TO_BASE), first - 10**9)
            inverse = np.linalg.inv(transform(*BASE_TO_CAMERA))[:3, 3]
            x, y, z, w = BASE_TO_CAMERA[1]
            bag.write(static, _static("base", "camera", (inverse, (-x, -y, -z, w))), first - 10**9)
        if with_info:
            info = bag.add_topic("/front/camera_info", CAMERA_INFO)
            bag.write(info, _calibration(), first)
        for i, stamp in enumerate(stamps(len(scene.images))):
            bag.write(topics["/front/image"],
                      image_message(scene.images[i], "rgb8", stamp, "camera"), stamp)  # fmt: skip
            bag.write(topics["/front/label"],
                      image_message(scene.labels[i], "mono8", stamp, "camera"), stamp)  # fmt: skip
            metres = scene.depths[i]
            made = depth(i, image_message(metres, "32FC1", stamp, depth_frame))
            bag.write(topics[depth_topic], made, stamp)
            message = cloud(i, _cloud(metres, scene.lidar[i], camera))
            message.header = make_header(stamp + lidar_late, cloud_frame)
            bag.write(topics["/points"], message, stamp + lidar_late)
    return path


def _cloud(metres: np.ndarray, pixels: np.ndarray, camera: Any) -> Any:
    rows, columns = np.divmod(pixels, metres.shape[1])
    z = metres[rows, columns].astype(np.float64)
    seen = np.stack([(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z])
    behind = -np.ones((3, BEHIND))
    nowhere = np.full((3, 1), np.nan)
    points = apply(np.linalg.inv(LIDAR_TO_CAMERA), np.concatenate([seen, behind, nowhere], axis=1))
    data = np.zeros(points.shape[1], _POINT)
    data["x"], data["y"], data["z"] = points
    types = ros2_types().types
    fields = [
        types["sensor_msgs/msg/PointField"](name, place, kind, 1)
        for name, place, kind in (("intensity", 0, 4), ("z", 4, 7), ("y", 8, 7), ("x", 16, 8))
    ]
    return types[POINT_CLOUD](
        header=make_header(0, ""), height=1, width=len(data), fields=fields, is_bigendian=False,
        point_step=28, row_step=28 * len(data), data=data.view(np.uint8).reshape(-1),
        is_dense=False,
    )  # fmt: skip


def _static(parent: str, child: str, numbers: tuple[Any, Any]) -> Any:
    types = ros2_types().types
    (x, y, z), turn = numbers
    moved = types["geometry_msgs/msg/Transform"](
        translation=types["geometry_msgs/msg/Vector3"](float(x), float(y), float(z)),
        rotation=types["geometry_msgs/msg/Quaternion"](*turn),
    )
    stamped = types["geometry_msgs/msg/TransformStamped"](make_header(0, parent), child, moved)
    return types[TF_MESSAGE](transforms=[stamped])


def _calibration() -> Any:
    types = ros2_types().types
    fields = pinhole(*SIZE, SyntheticStreet().camera(0).horizontal_fov)
    return types[CAMERA_INFO](
        header=make_header(0, "camera"), binning_x=0, binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
        **{key: np.array(v) if isinstance(v, list) else v for key, v in fields.items()},
    )  # fmt: skip
