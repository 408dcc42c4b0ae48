"""Calibrations and transforms that a bag holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from camss_ros.bags.bag import Bag, BagError
from camss_ros.bags.bag_types import CAMERA_INFO, TF_MESSAGE
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.frame_tree import FrameTree
from camss_ros.projection.transforms import transform

_TF_STATIC = "/tf_static"


def read_camera(bag: Bag, topic: str, *, rectified: bool) -> tuple[CameraModel, str]:
    """The camera of the first message of a camera_info topic, and its frame.

    Args:
        rectified: the images are, so that P of the calibration projects, not K.

    Raises:
        BagError: there is no such topic or message.
        ProjectionRejectedError: it is not calibrated.
    """
    message = next(bag.messages([bag.require(topic, (CAMERA_INFO,))]), None)
    if message is None:
        raise BagError(f"'{bag.path}': topic {topic} has no messages")
    info = bag.decode(message)
    # K, D and P in ROS 1 are k, d and p in ROS 2.
    fields: Any = SimpleNamespace(**{name.lower(): value for name, value in vars(info).items()})
    return CameraModel.from_message(fields, rectified=rectified), info.header.frame_id


def read_static_frames(bag: Bag) -> FrameTree:
    """What is on /tf_static, in the whole bag; damage is noted in `bag.warnings`."""
    frames = FrameTree()
    if not any((topic.name, topic.type) == (_TF_STATIC, TF_MESSAGE) for topic in bag.topics):
        return frames
    try:
        for message in bag.messages([_TF_STATIC]):
            try:
                for each in bag.decode(message).transforms:
                    frames.add(each.header.frame_id, each.child_frame_id, _matrix(each.transform))
            except ValueError as error:  # of this message: no TFMessage, or what is no transform
                bag.warn(f"'{bag.path}': {_TF_STATIC}: {error}")
    except BagError as error:
        bag.warn(str(error))
    return frames


def _matrix(message: Any) -> np.ndarray:
    place, turn = message.translation, message.rotation
    return transform((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))
