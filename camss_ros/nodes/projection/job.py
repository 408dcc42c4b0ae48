"""What the projector makes of its inputs: one job for each kind of output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from camss_ros.nodes.projection.classes import Classes
from camss_ros.nodes.projection.outputs import Outputs
from camss_ros.nodes.projection.parameters import ProjectorParameters
from camss_ros.nodes.projection.transforms import Transforms
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


class Job(Protocol):
    """Makes outputs of sets of inputs. All but `process` runs in the executor."""

    name: str
    outputs: Outputs

    def subscribe(self) -> None:
        """Listen to the inputs from now on."""

    def unsubscribe(self) -> None:
        """Stop listening, and forget what waits."""

    def take(self, camera: str, labels: Labels) -> None:
        """A label image of a camera has come."""

    def process(self, inputs: Any) -> None:
        """Compute and publish, in the worker.

        Raises:
            ProjectionRejectedError: the inputs can't be projected.
        """


def nanoseconds(stamp: Time) -> int:
    """A stamp as one number, whatever it holds."""
    return stamp.sec * 10**9 + stamp.nanosec
