"""Every parameter of the projector (`parameters.yaml`): its values, and when it may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.node import Node

from camss_ros.images.label_sets import LabelSet, load_label_set
from camss_ros.nodes.camera_names import camera_names, camera_names_problem
from camss_ros.nodes.parameter_table import DeclaredParameters, read_specs
from camss_ros.projection.depth_cloud import labels_to_publish
from camss_ros.projection.ground_classes import GroundClasses, class_ids
from camss_ros.projection.point_cloud import packed_rgb

_TRANSFORM = 7  # numbers of one in lidar_to_camera


def lidar_to_camera_problem(value: Sequence[float]) -> str:
    """Why this is no value of the parameter `lidar_to_camera`; empty if it is one."""
    whole = len(value) % _TRANSFORM == 0 and len(value) > 0
    return "" if whole else f"must be {_TRANSFORM} numbers for each camera, not {len(value)}"


def mount_problem(value: Sequence[float]) -> str:
    """Why this is no value of the parameter `mount`; empty if it is one."""
    if len(value) != 3 or not 0 <= value[0] <= 100 or not all(abs(v) <= 90 for v in value[1:]):
        return (
            "must be height (0 to 100 m, 0: by TF), pitch and roll (-90 to 90 degrees), not "
            f"{list(value)}"
        )
    return ""


def grid_area_problem(value: Sequence[float]) -> str:
    """Why this is no value of the parameter `grid_area`; empty if it is one."""
    if len(value) != 4 or not all(abs(v) <= 1000 for v in value):
        return f"must be x_min, x_max, y_min, y_max (-1000 to 1000 m), not {list(value)}"
    x_min, x_max, y_min, y_max = value
    if x_min >= x_max or y_min >= y_max:
        return f"must be x_min < x_max and y_min < y_max, not {list(value)}"
    return ""


SPECS = read_specs(
    Path(__file__).with_suffix(".yaml"),
    {
        "cameras": camera_names_problem,
        "lidar_to_camera": lidar_to_camera_problem,
        "mount": mount_problem,
        "grid_area": grid_area_problem,
    },
)


@dataclass(frozen=True)
class Classes:
    """The classes of the masks.

    Attributes:
        label_set: that numbers them.
        colors: float32 [256], the bits of `rgb` for each label.
        kept: bool [256], the labels that `filtered_cloud` has.
        ground: what can be driven on.
    """

    label_set: LabelSet
    colors: np.ndarray
    kept: np.ndarray
    ground: GroundClasses


class ProjectorParameters(DeclaredParameters):
    """The declared parameters of a projector; see `DeclaredParameters`."""

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        super().__init__(node, SPECS, is_unconfigured)

    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras; one empty name for a camera without a name."""
        return camera_names(self["cameras"]) or ("",)

    def lidar_to_cameras(self) -> list[list[float]] | None:
        """The seven numbers for each camera; None where TF is asked."""
        values = list(self["lidar_to_camera"])
        if not any(values):
            return None
        return [values[i : i + _TRANSFORM] for i in range(0, len(values), _TRANSFORM)]

    def classes(self) -> Classes:
        """What they say about the classes.

        Raises:
            LabelSetError, ValueError: there is no such label set, or no such class in it.
        """
        label_set = load_label_set(self["label_set"])

        def ids(name: str) -> list[int]:
            return class_ids(self[name], label_set, name)

        return Classes(
            label_set,
            packed_rgb(label_set.palette()),
            labels_to_publish(ids("drop_classes"), ids("keep_classes")),
            GroundClasses(
                len(label_set.classes),
                tuple(ids("drivable_classes")),
                tuple(ids("flat_classes")),
            ),
        )
