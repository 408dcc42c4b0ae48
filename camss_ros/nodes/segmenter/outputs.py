"""What the node publishes below `segmentation/` for each frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.images.label_class import VOID
from camss_ros.images.label_mapping import LabelMapping
from camss_ros.nodes.messages import (
    label_info_message,
    label_info_type,
    to_image_message,
    to_png_message,
    to_runs_message,
)
from camss_ros.nodes.qos import LATCHED, PROFILES, PublisherEventCallbacks
from camss_ros.nodes.segmenter.camera_info import belongs_to, scale_camera_info
from camss_ros.nodes.segmenter.parameters import NodeParameters

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import Segmentation

_TO_MESSAGE: dict[str, Callable[[np.ndarray, Header], Any]] = {
    "mono8": lambda labels, header: to_image_message(labels, "mono8", header),
    "autoware_rle": to_runs_message,
    "png": to_png_message,
}


class Outputs:
    """The publishers of a camera, and the messages they are given.

    Topics are below `<prefix>segmentation/`. `warn(kind, text)` is called where a subscriber asks
    for more than `output_qos` gives.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        status_type: type,
        warn: Callable[[str, str], None],
        prefix: str = "",
    ) -> None:
        self._node, self._parameters, self._warn = node, parameters, warn
        self._prefix = prefix
        self._publishers: dict[str, Any] = {}
        self._to_message = _TO_MESSAGE[parameters["mask_format"]]
        try:
            self._create_all(status_type)
        except Exception:
            self.destroy()
            raise

    def _create_all(self, status_type: type) -> None:
        if self._parameters["mask_format"] == "png":
            self._create("mask", CompressedImage, "mask/compressed")
        else:
            self._create("mask", Image)
        for name in ("confidence", "uncertainty", "overlay", "mask_color"):
            self._create(name, Image)
        self._create("camera_info", CameraInfo)
        self._create("status", status_type, qos=LATCHED)
        label_info = label_info_type()
        if label_info is None:
            text = "vision_msgs is not installed: no segmentation/label_info"
            self._node.get_logger().warning(text, once=True)
        else:
            self._create("label_info", label_info, qos=LATCHED)

    def _create(self, name: str, kind: type, topic: str = "", qos: Any = None) -> None:
        topic = f"{self._prefix}segmentation/{topic or name}"

        def incompatible(event: Any) -> None:
            policy = event.last_policy_kind
            self._warn(
                f"qos {name}",
                f"a subscriber of {topic} asks for a quality of service that this node does not "
                f"offer ({getattr(policy, 'name', policy)}): set output_qos to system_default, or "
                "the subscriber to best effort and volatile",
            )

        self._publishers[name] = self._node.create_lifecycle_publisher(
            kind,
            topic,
            qos or PROFILES[self._parameters["output_qos"]],
            event_callbacks=PublisherEventCallbacks(incompatible_qos=incompatible),
        )

    def is_heard(self, name: str) -> bool:
        """Whether anybody listens to an output."""
        return self._publishers[name].get_subscription_count() > 0

    def publish_status(self, status: Any) -> None:
        """Latched: a later subscriber gets the last one."""
        self._publishers["status"].publish(status)

    def publish_label_info(self, mapping: LabelMapping) -> None:
        """Latched: a later subscriber gets the names before the first mask."""
        if "label_info" in self._publishers:
            header = Header(stamp=self._node.get_clock().now().to_msg())
            threshold = self._parameters["ignore_below_confidence"]
            message = label_info_message(mapping.classes, header, threshold)
            self._publishers["label_info"].publish(message)

    def output_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the outputs for an image of (height, width)."""
        height, width = image_size
        asked_width, asked_height = self._parameters["output_size"]
        if asked_width and asked_height:
            return asked_height, asked_width
        if asked_width:
            return max(1, round(height * asked_width / width)), asked_width
        if asked_height:
            return asked_height, max(1, round(width * asked_height / height))
        return image_size

    def publish(
        self, mapping: LabelMapping, result: Segmentation, header: Header, info: CameraInfo | None,
        image_size: tuple[int, int],
    ) -> np.ndarray:  # fmt: skip
        """Publish a result, all with the header of its image.

        Args:
            info: calibration of the camera, if one has come.
            image_size: (height, width) of the image.

        Returns:
            uint8 [H, W], the class ids as they are published.
        """
        labels = mapping.apply(result.labels)
        threshold = self._parameters["ignore_below_confidence"]
        if threshold > 0:
            unsure = result.confidence < np.ceil(threshold * 255)
            labels = np.where(unsure, np.uint8(VOID), labels)
        self._publishers["mask"].publish(self._to_message(labels, header))
        images = {"confidence": result.confidence, "uncertainty": result.uncertainty}
        for name, pixels in images.items():
            if pixels is not None:
                self._publishers[name].publish(to_image_message(pixels, "mono8", header))
        if info is not None:
            if not belongs_to(info, image_size):
                height, width = image_size
                self._warn(
                    "camera_info size",
                    f"camera_info is of {info.width} x {info.height} pixels, the image of {width} "
                    f"x {height}, and neither its binning nor its roi explains that: it is scaled "
                    "as if it were the image's; publish that of the image",
                )
            scaled = scale_camera_info(info, image_size, labels.shape, header)
            self._publishers["camera_info"].publish(scaled)
        return labels

    def publish_pictures(
        self, image: np.ndarray, labels: np.ndarray, mapping: LabelMapping, header: Header
    ) -> None:
        """The image under the colours of its classes, and the colours alone, for those who listen.

        Displays show a mask of class ids as nearly black.

        Args:
            image: uint8 [H, W, 3] RGB, of any size.
            labels: uint8 [h, w] of `publish`.
        """
        from camss_ros.images import drawing

        if self.is_heard("overlay"):
            picture = drawing.overlay(image, labels, mapping.classes)
            self._publishers["overlay"].publish(to_image_message(picture, "rgb8", header))
        if self.is_heard("mask_color"):
            picture = drawing.colorize(labels, mapping.classes)
            self._publishers["mask_color"].publish(to_image_message(picture, "rgb8", header))

    def destroy(self) -> None:
        """Leave the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
