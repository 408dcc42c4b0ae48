"""Labelled clouds of a lidar with the masks of every camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from camss_ros.nodes.messages import nanoseconds
from camss_ros.nodes.projection.job import Input, Job, JobContext, Labels
from camss_ros.nodes.projection.outputs import to_cloud_message
from camss_ros.nodes.projection.parameters import ProjectorParameters
from camss_ros.nodes.projection.synchroniser import Synchroniser
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.labelling import View, label_points
from camss_ros.projection.point_cloud import FLOAT32, UINT8, Cloud
from camss_ros.projection.transforms import transform

_POINTS = "points"


class LidarJob(Job):
    """`labeled_cloud` and `filtered_cloud` of a lidar.

    Raises:
        ValueError: `lidar_to_camera` is no transform, or not one for each camera.
    """

    def __init__(self, given: JobContext, cameras: Sequence[str]) -> None:
        self._fixed = _fixed_transforms(given.parameters, cameras)
        super().__init__(given, ("labeled_cloud", "filtered_cloud"))
        tolerance = round(given.parameters["sync_tolerance"] * 1e9)
        # The topic of a camera without a name is not that of the points.
        self._topics = {camera: f"labels {camera}" for camera in cameras}
        self._sets = Synchroniser(_POINTS, list(self._topics.values()), tolerance, partial=True)

    def _inputs(self) -> Iterator[Input]:
        yield PointCloud2, _POINTS, self._on_points

    def _forget(self) -> None:
        self._sets.clear()

    def take(self, camera: str, labels: Labels) -> None:
        """See `Job`."""
        self._add(self._topics[camera], labels, labels)

    def _on_points(self, message: PointCloud2) -> None:
        if not self.outputs.is_heard():
            return
        try:
            cloud = Cloud.from_message(message)
            for name in "xyz":  # checked before its turn: a bad cloud must not overtake a good one
                cloud.values(name)
            self._add(_POINTS, message, (message.header, cloud))
        except ProjectionRejectedError as error:
            self._given.reject(self, error.reason, f"{_POINTS}: {error}")

    def _add(self, topic: str, message: Any, value: Any) -> None:
        found = self._sets.add(topic, nanoseconds(message.header.stamp), value)
        if found is not None:
            masks = {camera: found[name] for camera, name in self._topics.items() if name in found}
            self._given.submit(self, (*found[_POINTS], masks))

    def process(self, inputs: tuple[Header, Cloud, dict[str, Labels]]) -> None:
        """See `Job`: header and points of the lidar, label images by camera."""
        header, cloud, masks = inputs
        views = [
            View(mask.camera, self._to_camera(camera, mask, header), mask.labels, mask.confidence)
            for camera, mask in masks.items()
        ]
        labels, confidence = label_points(cloud.points(), views)
        labelled = cloud.extended(
            {
                "rgb": (FLOAT32, self._given.classes.colors[labels]),
                "label": (UINT8, labels),
                "confidence": (UINT8, confidence),
            }
        )
        if self.outputs.is_heard("labeled_cloud"):
            self.outputs.publish("labeled_cloud", to_cloud_message(labelled, header))
        if self.outputs.is_heard("filtered_cloud"):
            filtered = labelled.selected(self._given.classes.kept[labels])
            self.outputs.publish("filtered_cloud", to_cloud_message(filtered, header))

    def _to_camera(self, camera: str, mask: Labels, header: Header) -> np.ndarray:
        if self._fixed is not None:
            return self._fixed[camera]
        return self._given.transforms.lookup(
            (mask.header.frame_id, mask.header.stamp),
            (header.frame_id, header.stamp),
            fixed_frame=self._given.parameters["fixed_frame"],
            timeout=self._given.parameters["tf_timeout"],
        )


def _fixed_transforms(
    parameters: ProjectorParameters, cameras: Sequence[str]
) -> dict[str, np.ndarray] | None:
    """By camera, from `lidar_to_camera`; None where TF is asked. Raises ValueError."""
    numbers = parameters.lidar_to_cameras()
    if numbers is None:
        return None
    if len(numbers) != len(cameras):
        raise ValueError(
            f"lidar_to_camera has {len(numbers)} transforms for {len(cameras)} cameras"
        )
    return {
        camera: transform(values[:3], values[3:])
        for camera, values in zip(cameras, numbers, strict=True)
    }
