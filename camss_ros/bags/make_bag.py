"""Frames into a rosbag2: what a camera with these frames would have left behind."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camss_ros.bags.bag_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    LABEL_INFO,
    make_header,
    ros2_types,
)
from camss_ros.bags.bag_writer import (
    BagWriter,
    Storage,
    image_message,
    label_info_message,
)
from camss_ros.images.frames import FrameSource, UnreadableInputError
from camss_ros.images.image_files import encode_image
from camss_ros.images.message_fields import pinhole

FRAME_ID = "camera_optical_frame"
_HORIZONTAL_FOV = 60.0  # degrees, as of the video publisher


def make_bag(
    source: FrameSource,
    path: Path,
    rate: float | None = None,
    limit: int | None = None,
    storage: Storage = "mcap",
    namespace: str = "/camera",
    jpeg: int | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> int:
    """Write frames to a rosbag2 folder.

    Topics below `namespace`: `image` (sensor_msgs/Image, rgb8) or, with `jpeg` as its quality,
    `image/compressed` (sensor_msgs/CompressedImage); `camera_info`, of a pinhole with the
    horizontal field of view of the source, or 60 degrees; with depth `depth/image` (sensor_msgs/
    Image, 32FC1) and `depth/camera_info`, the same again; with labels `label` (sensor_msgs/Image,
    mono8 class ids, 255 is void) and `label_info` (vision_msgs/LabelInfo, latched). All messages of
    a frame have one stamp. The first stamp is one period after zero, so that a bag can be made
    again bit for bit.

    Args:
        path: of the folder, which must not exist.
        rate: frames a second; None: the source's own, with the stamps that a video has.
        limit: frames written at most; None: all.
        storage: "mcap" or "sqlite3".
        jpeg: quality, 1 to 100; None: uncompressed images.
        on_frame: called after each frame.

    Returns:
        The number of frames.

    Raises:
        UnreadableInputError: no frame can be read.
        DataError: a bad label file.
        BagError: `path` exists.
        ValueError: a source without end and no `limit`.
        OSError: it can't be written.
    """
    if source.endless and limit is None:
        raise ValueError("this input has no end: say how many frames are wanted")
    types = ros2_types().types
    period = round(1e9 / (rate or source.fps))
    fov = source.horizontal_fov or _HORIZONTAL_FOV
    count = 0
    topics: dict[str, Any] = {}
    with BagWriter(path, storage) as bag:

        def topic(name: str, kind: str, latched: bool = False) -> Any:
            if name not in topics:
                topics[name] = bag.add_topic(f"{namespace}/{name}", kind, latched)
            return topics[name]

        for frame in itertools.islice(source, limit):
            stamp = (count + 1) * period
            if rate is None and frame.time is not None:
                stamp = period + round(frame.time * 1e9)
            height, width = frame.image.shape[:2]
            calibration = {
                key: np.array(value) if isinstance(value, list) else value
                for key, value in pinhole(height, width, fov).items()
            }
            info = types[CAMERA_INFO](
                header=make_header(stamp, FRAME_ID),
                binning_x=0,
                binning_y=0,
                roi=types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
                **calibration,
            )
            bag.write(topic("camera_info", CAMERA_INFO), info, stamp)
            if frame.depth is not None:
                bag.write(topic("depth/camera_info", CAMERA_INFO), info, stamp)
                depth = image_message(frame.depth, "32FC1", stamp, FRAME_ID)
                bag.write(topic("depth/image", IMAGE), depth, stamp)
            if jpeg is None:
                image = image_message(frame.image, "rgb8", stamp, FRAME_ID)
                bag.write(topic("image", IMAGE), image, stamp)
            else:
                data = encode_image(frame.image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, jpeg)
                image = types[COMPRESSED_IMAGE](
                    header=make_header(stamp, FRAME_ID),
                    format="jpeg",
                    data=np.frombuffer(data, np.uint8),
                )
                bag.write(topic("image/compressed", COMPRESSED_IMAGE), image, stamp)
            if frame.label is not None and source.label_set is not None:
                if "label_info" not in topics:
                    names = label_info_message(source.label_set.classes, stamp, FRAME_ID)
                    bag.write(topic("label_info", LABEL_INFO, latched=True), names, stamp)
                label = image_message(frame.label, "mono8", stamp, FRAME_ID)
                bag.write(topic("label", IMAGE), label, stamp)
            count += 1
            on_frame()
        if count == 0:
            raise UnreadableInputError("no frame of the input could be read")
    return count
