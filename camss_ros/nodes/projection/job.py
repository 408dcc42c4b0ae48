"""What the projector makes of its inputs: one job for each kind of output."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from camss_ros.nodes.messages import label_info_type
from camss_ros.nodes.projection.outputs import Outputs
from camss_ros.nodes.projection.parameters import Classes, ProjectorParameters
from camss_ros.nodes.projection.transforms import Transforms
from camss_ros.nodes.qos import PROFILES
from camss_ros.projection.camera_model import CameraModel


@dataclass(frozen=True)
class Labels:
    """A label image with its confidence, uint8 [H, W] each, and the camera of that size."""

    header: Header
    labels: np.ndarray
    confidence: np.ndarray
    camera: CameraModel


@dataclass(frozen=True)
class JobContext:
    """What every job is given.

    Attributes:
        node, parameters, transforms: of the node.
        classes: of its masks.
        submit: called with a job and a set of inputs that is complete.
        reject: called with a job, a reason in a few words and a sentence, for an input that
            cannot be used.
    """

    node: LifecycleNode
    parameters: ProjectorParameters
    transforms: Transforms
    classes: Classes
    submit: Callable[[Job, Any], None]
    reject: Callable[[Job, str, str], None]


Input: TypeAlias = tuple[type, str, Callable[[Any], None]]
"""Message type, topic and callback of a subscription."""


class Listener(ABC):
    """Has subscriptions while it is asked to; topics of a camera are below its name."""

    def __init__(self, node: LifecycleNode, parameters: ProjectorParameters, camera: str) -> None:
        self._node, self._qos = node, PROFILES[parameters["input_qos"]]
        self._prefix = f"{camera}/" if camera else ""
        self._subscriptions: list[Any] = []
        self._heard: dict[str, float] = {}  # monotonic s of the last message, by topic

    @abstractmethod
    def _inputs(self) -> Iterable[Input]:
        """What it subscribes to."""

    def _forget(self) -> None:  # noqa: B027 -- nothing may wait
        """Drop what waits for other inputs."""

    def subscribe(self) -> None:
        """Listen to the inputs from now on."""
        for each in self._inputs():  # where one cannot be made, `unsubscribe` finds those before
            self._subscriptions.append(self._subscription(*each))

    def _subscription(self, kind: type, topic: str, callback: Callable[[Any], None]) -> Any:
        name = self._node.resolve_topic_name(topic)

        def heard(message: Any) -> None:
            self._heard[name] = time.monotonic()
            callback(message)

        return self._node.create_subscription(kind, topic, heard, self._qos)

    def silent_topics(self, since: float) -> list[str]:
        """On which nothing has come since a monotonic time, s; calibrations and names of classes
        may come once."""
        return [
            subscription.topic_name
            for subscription in self._subscriptions
            if subscription.msg_type not in (CameraInfo, label_info_type())
            and self._heard.get(subscription.topic_name, -math.inf) < since
        ]

    def unsubscribe(self) -> None:
        """Stop listening, and forget what waits."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._forget()


class Job(Listener):
    """Makes outputs of sets of inputs. All but `process` runs in the executor.

    Attributes:
        name: that of the first of the `outputs`, and of the camera where it has one.
        sources: of its inputs, itself among them.
    """

    def __init__(self, given: JobContext, outputs: tuple[str, ...], camera: str = "") -> None:
        super().__init__(given.node, given.parameters, camera)
        self._given = given
        self.sources: list[Listener] = [self]
        self.name = f"{outputs[0]} of {camera}" if camera else outputs[0]
        self.outputs = Outputs(given.node, outputs, given.parameters["output_qos"], self._prefix)

    @abstractmethod
    def take(self, camera: str, labels: Labels) -> None:
        """A label image of a camera has come."""

    @abstractmethod
    def process(self, inputs: Any) -> None:
        """Compute and publish, in the worker.

        Raises:
            ProjectionRejectedError: the inputs can't be projected.
        """
