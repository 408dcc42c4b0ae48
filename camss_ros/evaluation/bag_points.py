"""The points of the depth images and clouds of a bag, and on which pixel of an image each falls.

As in the node `projector`, whose geometry this is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from camss_ros.bags.bag import Bag, BagError, Topic
from camss_ros.bags.bag_frames import BagFrames
from camss_ros.bags.bag_types import CAMERA_INFO, IMAGE, POINT_CLOUD, beside
from camss_ros.evaluation.bag_geometry import read_camera, read_static_frames
from camss_ros.evaluation.point_scores import PointScorer, PointSource
from camss_ros.images.label_class import LabelClass
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.depth_cloud import DepthProjector, depth_in_metres
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.point_cloud import Cloud, packed_rgb
from camss_ros.projection.transforms import apply, transform

_COLORS = packed_rgb(np.zeros((256, 3), np.uint8))


@dataclass(frozen=True)
class PointSelection:
    """What of a bag has the points that a camera sees.

    Attributes:
        camera_info: topic of the camera's calibration.
        depth: topic of its depth images, registered to it, or None.
        lidar: topic of the clouds of a lidar, or None.
        lidar_to_camera: x, y, z (m) and the quaternion x, y, z, w that take points of the lidar
            into the camera's optical frame; None: by the bag's /tf_static.
        rectified: the images are, so that P of the calibration projects.

    Raises:
        ValueError: `lidar_to_camera` is no transform.
    """

    camera_info: str
    depth: str | None = None
    lidar: str | None = None
    lidar_to_camera: tuple[float, ...] | None = None
    rectified: bool = False

    def __post_init__(self) -> None:
        self.given_transform()

    def given_transform(self) -> np.ndarray | None:
        """`lidar_to_camera` as float64 [4, 4]."""
        numbers = self.lidar_to_camera
        return None if numbers is None else transform(numbers[:3], numbers[3:])

    def topics(self, bag: Bag) -> dict[str, Topic]:
        """Those of "depth" and "lidar" that are chosen. Raises BagError where one of them or the
        calibration is not there, or of another type."""
        bag.require(self.camera_info, (CAMERA_INFO,))
        chosen = (("depth", self.depth, IMAGE), ("lidar", self.lidar, POINT_CLOUD))
        return {kind: bag.require(name, (of,)) for kind, name, of in chosen if name is not None}


def depth_source(camera: CameraModel, frame: str, own: CameraModel | None) -> PointSource:
    """Of depth images that are registered to a camera.

    Args:
        camera, frame: of the images that are segmented.
        own: the camera of the depth images; None where they have the size of the image.
    """

    @lru_cache(maxsize=1)
    def projector(height: int, width: int, rows: int, columns: int) -> DepthProjector:
        if own is None and (rows, columns) != (height, width):
            raise ProjectionRejectedError(
                "depth size",
                f"it is of {columns} x {rows} pixels, the image of {width} x {height}, and the bag "
                "has no camera_info beside it",
            )
        resized = camera.resized(height, width)
        return DepthProjector(resized, own.resized(rows, columns) if own else resized, _COLORS)

    def pixels(message: Any, height: int, width: int) -> tuple[int, np.ndarray]:
        depth = depth_in_metres(message)
        found = message.header.frame_id
        if found.lstrip("/") != frame.lstrip("/"):
            raise ProjectionRejectedError(
                "frame",
                f"it is of frame {found!r}, the camera of {frame!r}: expected depth that is "
                "registered to the camera",
            )
        places = projector(height, width, *depth.shape).depth_of_mask(depth)
        seen = np.flatnonzero(~np.isnan(places))
        return len(seen), seen

    return pixels


def lidar_source(camera: CameraModel, to_camera: Callable[[str], np.ndarray]) -> PointSource:
    """Of the clouds of a lidar.

    Args:
        to_camera: float64 [4, 4] that takes points of a frame to the camera; raises
            ProjectionRejectedError.
    """
    resized = lru_cache(maxsize=1)(camera.resized)

    def pixels(message: Any, height: int, width: int) -> tuple[int, np.ndarray]:
        points = Cloud.from_message(message).points()
        moved = apply(to_camera(message.header.frame_id), points)
        return int(np.isfinite(points).all(axis=0).sum()), resized(height, width).pixels(moved)[1]

    return pixels


PointSources: TypeAlias = Mapping[str, tuple[Topic, PointSource]]
"""By kind, "depth" or "lidar": the topic, and what its messages show of the image."""


def point_sources(bag: Bag, selection: PointSelection) -> PointSources:
    """Those of a selection.

    Raises:
        BagError: no calibration, or no way from the lidar to the camera.
        ProjectionRejectedError: the camera is not calibrated.
    """
    topics = selection.topics(bag)
    camera, frame = read_camera(bag, selection.camera_info, rectified=selection.rectified)
    sources = {}
    for kind, topic in topics.items():
        if kind == "depth":
            own = _camera_beside(bag, topic, rectified=selection.rectified)
            sources[kind] = topic, depth_source(camera, frame, own)
        else:
            way = _way_to_camera(bag, topic, frame, selection.given_transform())
            sources[kind] = topic, lidar_source(camera, way)
    return sources


def open_points(
    frames: BagFrames, sources: PointSources, classes: Sequence[LabelClass]
) -> dict[str, PointScorer]:
    """A scorer for each of the sources.

    Args:
        frames: made with their topics as partners.
        classes: of labels and predictions.
    """
    scorers = {}
    for kind, (topic, source) in sources.items():
        partner = frames.partner(topic)
        if not partner.matched:
            frames.bag.warn(f"'{frames.bag.path}': {topic.name}: {partner.why_none()}")
        scorers[kind] = PointScorer(source, frames, partner, classes)
    return scorers


def _camera_beside(bag: Bag, topic: Topic, *, rectified: bool) -> CameraModel | None:
    info = beside(topic.name, "camera_info")
    if any((t.name, t.type) == (info, CAMERA_INFO) and t.messages for t in bag.topics):
        return read_camera(bag, info, rectified=rectified)[0]
    return None


def _way_to_camera(
    bag: Bag, topic: Topic, frame: str, given: np.ndarray | None
) -> Callable[[str], np.ndarray]:
    """`to_camera` of `lidar_source`. Raises BagError where the first cloud has no way."""
    if given is not None:
        return lambda _: given
    frames = read_static_frames(bag)
    for message in itertools.islice(bag.messages([topic]), 1):
        try:
            frames.between(frame, bag.decode(message).header.frame_id)
        except ProjectionRejectedError as error:
            raise BagError(
                f"'{bag.path}': {topic.name}: by /tf_static {error}: give --lidar-to-camera"
            ) from error
        except BagError:  # counted when its turn comes
            break
    return lambda source: frames.between(frame, source)
