"""Labelled clouds of a camera with a depth image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from camss_ros.nodes.messages import nanoseconds
from camss_ros.nodes.projection.job import Input, Job, JobContext, Labels
from camss_ros.nodes.projection.label_stream import CameraOfTopic
from camss_ros.nodes.projection.outputs import to_cloud_message
from camss_ros.nodes.projection.synchroniser import Synchroniser
from camss_ros.projection.depth_cloud import (
    POINT,
    DepthProjector,
    dense_cloud,
    depth_in_metres,
    organised_cloud,
)
from camss_ros.projection.errors import ProjectionRejectedError


class DepthJob(Job):
    """`labeled_cloud` and `filtered_cloud` of one camera."""

    def __init__(self, given: JobContext, camera: str) -> None:
        super().__init__(given, ("labeled_cloud", "filtered_cloud"), camera)
        tolerance = round(given.parameters["sync_tolerance"] * 1e9)
        self._sets = Synchroniser("labels", ["depth"], tolerance)
        self._topic = f"{self._prefix}depth/image"
        self._camera = CameraOfTopic(
            f"{self._prefix}depth/camera_info", given.parameters["rectified"]
        )
        self._projector: DepthProjector | None = None
        self._message = PointCloud2()
        self._points: np.ndarray = np.zeros((0, 0), POINT)

    def _inputs(self) -> Iterator[Input]:
        yield Image, self._topic, self._on_depth
        yield CameraInfo, self._camera.topic, self._camera.set

    def _forget(self) -> None:
        self._sets.clear()

    def take(self, camera: str, labels: Labels) -> None:
        """See `Job`."""
        self._add("labels", labels, labels)

    def _on_depth(self, message: Image) -> None:
        if not self.outputs.is_heard():
            return
        try:
            self._add("depth", message, (message.header.frame_id, depth_in_metres(message)))
        except ProjectionRejectedError as error:
            self._given.reject(self, error.reason, f"{self._topic}: {error}")

    def _add(self, topic: str, message: Any, value: Any) -> None:
        found = self._sets.add(topic, nanoseconds(message.header.stamp), value)
        if found is not None:
            self._given.submit(self, (found["labels"], *found["depth"]))

    def process(self, inputs: tuple[Labels, str, np.ndarray]) -> None:
        """See `Job`.

        Args:
            inputs: labels, frame of the depth image, and that, float32 [h, w] metres.

        Raises:
            ProjectionRejectedError: they are of two frames, or there is no usable calibration.
        """
        labels, frame, depth = inputs
        if frame != labels.header.frame_id:
            raise ProjectionRejectedError(
                "frame",
                f"the depth image is of frame {frame!r}, the mask of {labels.header.frame_id!r}: "
                "register the depth to the camera (depth_image_proc, or the driver)",
            )
        projector = self._projector_for(labels, depth)
        points = self._points_for(labels.labels.shape)
        projector.fill(points, labels.labels, labels.confidence, depth)
        if self.outputs.is_heard("labeled_cloud"):
            if self._given.parameters["organized_cloud"]:
                self._message.header = labels.header
                self.outputs.publish("labeled_cloud", self._message)
            else:
                cloud = to_cloud_message(dense_cloud(points), labels.header)
                self.outputs.publish("labeled_cloud", cloud)
        if self.outputs.is_heard("filtered_cloud"):
            filtered = dense_cloud(points, self._given.classes.kept)
            self.outputs.publish("filtered_cloud", to_cloud_message(filtered, labels.header))

    def _projector_for(self, labels: Labels, depth: np.ndarray) -> DepthProjector:
        height, width = depth.shape
        if self._camera.is_known:
            depth_camera = self._camera.model(height, width)
        elif depth.shape == labels.labels.shape:
            depth_camera = labels.camera
        else:
            raise ProjectionRejectedError(
                "depth size",
                f"the depth image is of {width} x {height} pixels, the mask of "
                f"{labels.camera.width} x {labels.camera.height}, and nothing has come on "
                f"{self._camera.topic}, which tells how they lie to each other",
            )
        known = self._projector
        if (
            known is None
            or known.mask_camera is not labels.camera
            or known.depth_camera is not depth_camera
        ):
            self._projector = DepthProjector(
                labels.camera, depth_camera, self._given.classes.colors
            )
        assert self._projector is not None
        return self._projector

    def _points_for(self, shape: tuple[int, ...]) -> np.ndarray:
        """The points of a message that is published again and again: nothing is copied."""
        if self._points.shape != shape:
            empty = organised_cloud(np.zeros(shape, POINT))
            self._message = to_cloud_message(empty, Header())
            # The array that the message holds, which may be a copy of what it was given.
            self._points = np.frombuffer(self._message.data, POINT).reshape(shape)
        return self._points
