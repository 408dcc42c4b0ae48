"""What a frame is on its way through the node, and what it needs of its camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.images.encodings import ImageRejectedError
from camss_ros.images.label_mapping import LabelMapping
from camss_ros.nodes.segmenter.diagnostics import FrameCounter

if TYPE_CHECKING:
    from camss_ros.inference.latency_budget import Setting
    from camss_ros.inference.segmenter import FrameRequest, Segmentation


@dataclass(frozen=True)
class Arrival:
    """An image as it came. `time`: of `time.monotonic()`."""

    message: Image | CompressedImage
    time: float

    @property
    def header(self) -> Header:
        """Stamp and frame."""
        return self.message.header


@dataclass(frozen=True)
class CameraFrame:
    """An image in work.

    Attributes:
        source: the camera that it is from.
        arrival: how it came.
        request: the image as RGB, and what is wanted of it.
        convert: seconds that the conversion to RGB took.
    """

    source: CameraInterface
    arrival: Arrival
    request: FrameRequest
    convert: float


@dataclass(frozen=True)
class SegmentedFrame:
    """A frame with its result, and the sampling and network size that it was made with."""

    frame: CameraFrame
    setting: Setting
    result: Segmentation


@dataclass(frozen=True)
class FrameFailure:
    """A frame without a result, and why.

    No exception: one that is kept leads, by its traceback, back to the model, which would stay in
    memory after a cleanup until Python looks for cycles.
    """

    frame: CameraFrame
    reason: str


class CameraInterface(Protocol):
    """A camera, as far as its frames are concerned."""

    @property
    def counter(self) -> FrameCounter:
        """What became of its images."""

    def request(self, image: np.ndarray, header: Header) -> FrameRequest:
        """What is wanted of an image, uint8 [H, W, 3], but for network size and sampling."""

    def reject(self, error: ImageRejectedError) -> None:
        """Count an image that cannot be read."""

    def fail(self, reason: str) -> None:
        """Count an image that has no result."""

    def warn(self, kind: str, text: str) -> None:
        """Log a warning; at most once in a while for each kind."""

    def publish(self, segmented: SegmentedFrame, mapping: LabelMapping) -> np.ndarray:
        """Publish the mask and what goes with it.

        Returns:
            uint8 [H, W], the class ids as they are published.
        """

    def latency(self, arrival: Arrival) -> float:
        """Seconds since the stamp of an image, or its arrival where that one tells nothing."""

    def publish_report(
        self,
        segmented: SegmentedFrame,
        labels: np.ndarray,
        mapping: LabelMapping,
        status: Mapping[str, Any],
    ) -> None:
        """Publish what may come after the mask.

        Args:
            labels: uint8 [H, W] of `publish`.
            status: fields of SegmenterStatus.
        """
