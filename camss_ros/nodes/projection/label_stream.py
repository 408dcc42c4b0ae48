"""The label images of one camera, each with its confidence and calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from camss_ros.images.encodings import ImageRejectedError, image_to_labels
from camss_ros.images.message_fields import class_names
from camss_ros.nodes.messages import label_info_type, nanoseconds
from camss_ros.nodes.projection.job import Input, Job, JobContext, Labels, Listener
from camss_ros.nodes.projection.synchroniser import Synchroniser
from camss_ros.nodes.qos import LATCHED
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.errors import ProjectionRejectedError

_MASK, _CONFIDENCE = "mask", "confidence"


class CameraOfTopic:
    """The newest calibration of a topic, as a model; the same object as long as it is the same."""

    def __init__(self, topic: str, rectified: bool) -> None:
        self.topic, self._rectified = topic, rectified
        self._info: CameraInfo | None = None
        self._model: CameraModel | None = None
        self._resized: CameraModel | None = None

    def set(self, info: CameraInfo) -> None:
        """A calibration came."""
        self._info = info

    def model(self, height: int, width: int) -> CameraModel:
        """The model for images of (height, width) pixels.

        Raises:
            ProjectionRejectedError: no calibration has come, or none that can be used.
        """
        if self._info is None:
            raise ProjectionRejectedError(
                "calibration",
                f"nothing has come on {self.topic} yet, which the segmenter publishes where it has "
                "that of the camera: remap its camera_info (camera_info:= at launch)",
            )
        try:
            model = CameraModel.from_message(self._info, rectified=self._rectified)
        except ProjectionRejectedError as error:
            raise ProjectionRejectedError(error.reason, f"{self.topic}: {error}") from error
        if model != self._model or self._resized is None:
            self._model, self._resized = model, None
        if self._resized is None or (self._resized.height, self._resized.width) != (height, width):
            self._resized = model.resized(height, width)
        return self._resized

    @property
    def is_known(self) -> bool:
        """Whether one has come."""
        return self._info is not None


class LabelStream(Listener):
    """Subscribes to what the segmenter publishes for one camera, and gives it to jobs.

    What no job needs now is not looked at: a job needs nothing while nobody hears its outputs.
    """

    def __init__(self, given: JobContext, camera: str, jobs: Sequence[Job]) -> None:
        super().__init__(given.node, given.parameters, camera)
        self._name, self._jobs, self._reject = camera, jobs, given.reject
        self._label_set = given.classes.label_set
        self._classes = {each.id: each.name for each in self._label_set.classes}
        for job in jobs:
            job.sources.append(self)
        self._prefix += "segmentation/"
        self._pairs = Synchroniser(_MASK, [_CONFIDENCE], 0)
        self._camera = CameraOfTopic(f"{self._prefix}camera_info", given.parameters["rectified"])
        self._waiting: dict[str, Any] | None = None  # for the first calibration
        self._named: dict[int, str] | None = None  # the classes, as the segmenter names them

    def _inputs(self) -> Iterator[Input]:
        yield CameraInfo, self._camera.topic, self._on_camera_info
        for topic in (_MASK, _CONFIDENCE):
            yield Image, self._prefix + topic, partial(self._on_image, topic)

    def subscribe(self) -> None:
        """See `Listener`."""
        super().subscribe()
        if (kind := label_info_type()) is not None:
            topic = f"{self._prefix}label_info"
            create = self._node.create_subscription
            self._subscriptions.append(create(kind, topic, self._on_label_info, LATCHED))

    def _forget(self) -> None:
        self._pairs.clear()
        self._waiting = self._named = None

    def _on_label_info(self, message: Any) -> None:
        self._named = class_names(message)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera.set(message)
        pair, self._waiting = self._waiting, None
        if pair is not None:
            self._give(lambda: self._join(pair))

    def _on_image(self, topic: str, message: Image) -> None:
        self._give(lambda: self._add(topic, message))

    def _give(self, make: Callable[[], Labels | None]) -> None:
        """Give jobs what `make` makes of a message."""
        jobs = [job for job in self._jobs if job.outputs.is_heard()]
        if not jobs:
            return
        try:
            labels = make()
        except ProjectionRejectedError as error:
            for job in jobs:
                self._reject(job, error.reason, str(error))
            return
        if labels is not None:
            for job in jobs:
                job.take(self._name, labels)

    def _add(self, topic: str, message: Image) -> Labels | None:
        try:
            pixels = image_to_labels(message)
        except ImageRejectedError as error:
            text = f"{self._prefix}{topic}: {error}"
            raise ProjectionRejectedError(error.reason, text) from error
        stamp = nanoseconds(message.header.stamp)
        pair = self._pairs.add(topic, stamp, (message.header, pixels))
        if pair is None:
            return None
        if not self._camera.is_known and self._waiting is None:
            self._waiting = pair  # the segmenter publishes the calibration last
            return None
        return self._join(pair)

    def _join(self, pair: dict[str, Any]) -> Labels:
        (header, labels), (_, confidence) = pair[_MASK], pair[_CONFIDENCE]
        if labels.shape != confidence.shape:
            raise ProjectionRejectedError(
                "size",
                f"the confidence is of {confidence.shape[::-1]} pixels, the mask of "
                f"{labels.shape[::-1]}",
            )
        self._check_classes(labels)
        return Labels(header, labels, confidence, self._camera.model(*labels.shape))

    def _check_classes(self, labels: np.ndarray) -> None:
        """What another model or label set calls an obstacle may be a road here.

        Raises:
            ProjectionRejectedError: the labels are not of the classes of the label set.
        """
        highest = int((labels + np.uint8(1)).max(initial=0)) - 1  # void, 255, becomes 0
        if self._named is not None and self._named != self._classes:
            names = ", ".join(self._named.values())
            what = f"by {self._prefix}label_info the masks are of {names}"
        elif highest >= len(self._classes):
            what = f"{self._prefix}mask has class {highest}"
        else:
            return
        raise ProjectionRejectedError(
            "classes",
            f"{what}, not of label set {self._label_set.name}: set label_set to theirs, and "
            "drivable_classes, flat_classes, drop_classes and keep_classes",
        )
