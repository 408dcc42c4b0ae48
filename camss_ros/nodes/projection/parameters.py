"""Every parameter of the projector: type, range, default, description, and when it may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rclpy.node import Node

from camss_ros.nodes.camera_names import camera_names, camera_names_problem
from camss_ros.nodes.parameter_table import Change, DeclaredParameters, ParameterSpec
from camss_ros.nodes.qos import PROFILES

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


SPECS = (
    ParameterSpec(
        "autostart", True, "Configure and activate the node when it starts.", Change.NEVER
    ),
    # rclpy has no empty array of strings.
    ParameterSpec(
        "cameras",
        ("",),
        "Names of several cameras, as of the segmenter: front has front/segmentation/mask. Empty: "
        "one camera without a name.",
        Change.NEVER,
        check=camera_names_problem,
    ),
    ParameterSpec(
        "cloud_from",
        "depth",
        "What `labeled_cloud` is made of: the depth image of each camera, the points of a lidar "
        "with all cameras, or none.",
        Change.UNCONFIGURED,
        choices=("depth", "lidar", "none"),
    ),
    ParameterSpec(
        "organized_cloud",
        True,
        "`labeled_cloud` from depth has a point for each pixel of the mask, NaN where there is no "
        "depth; false: the points that there are.",
        Change.ALWAYS,
    ),
    ParameterSpec(
        "label_set",
        "cityscapes19",
        "Names and colours of the class ids in the masks: a name, or a YAML file.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "drop_classes",
        ("",),
        "Classes that `filtered_cloud` does not have.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "keep_classes",
        ("",),
        "Classes that `filtered_cloud` has alone. Empty: all but drop_classes, and void.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "drivable_classes",
        ("road",),
        "Classes of the ground that is free in `drivable_grid`.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "flat_classes",
        ("sidewalk", "terrain"),
        "Classes of other ground: not free, but it hides nothing behind it.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "rectified",
        False,
        "The masks and depth images are of rectified images: P of camera_info projects, instead of "
        "K and D.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "lidar_to_camera",
        (0.0,) * _TRANSFORM,
        "For each camera x, y, z (m) and the quaternion x, y, z, w that take points of the lidar "
        "into its optical frame, as `tf2_echo CAMERA LIDAR` prints them. All 0: by TF.",
        Change.UNCONFIGURED,
        check=lidar_to_camera_problem,
    ),
    ParameterSpec(
        "fixed_frame",
        "",
        "Frame of TF in which the world stands still (odom), to account for motion between the "
        "stamps of cloud and mask. Empty: none.",
        Change.ALWAYS,
    ),
    ParameterSpec(
        "tf_timeout",
        0.1,
        "Time to wait for a transform (s).",
        Change.ALWAYS,
        bounds=(0.0, 10.0),
    ),
    ParameterSpec(
        "vehicle_frame",
        "base_link",
        "Frame of the grid, the obstacle points and the scan: on the ground, x forward, z up.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "mount",
        (0.0, 0.0, 0.0),
        "Height of the camera above the ground (m), pitch down and roll clockwise (degrees); "
        "vehicle_frame is below the camera then. Height 0: by TF from vehicle_frame.",
        Change.ALWAYS,
        check=mount_problem,
    ),
    ParameterSpec(
        "grid_area",
        (0.0, 20.0, -10.0, 10.0),
        "x_min, x_max, y_min, y_max of the grid in vehicle_frame (m).",
        Change.UNCONFIGURED,
        check=grid_area_problem,
    ),
    ParameterSpec(
        "grid_resolution",
        0.1,
        "Side of a cell (m). Cells that a pixel of the mask cannot tell from the next are unknown: "
        "larger ones reach further.",
        Change.UNCONFIGURED,
        bounds=(0.01, 10.0),
    ),
    ParameterSpec(
        "grid_memory",
        False,
        "Join the grids of all frames by `odometry`.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "ego_mask",
        "",
        "Image file that is not black where a camera sees the own vehicle. Empty: nowhere.",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "sync_tolerance",
        0.02,
        "Time (s) that the stamps of mask and depth image, or mask and cloud, may differ by. 0: "
        "not at all.",
        Change.UNCONFIGURED,
        bounds=(0.0, 10.0),
    ),
    ParameterSpec(
        "input_qos",
        "sensor_data",
        "Quality of service of the subscriptions.",
        Change.UNCONFIGURED,
        choices=tuple(PROFILES),
    ),
    ParameterSpec(
        "output_qos",
        "system_default",
        "Quality of service of what is published.",
        Change.UNCONFIGURED,
        choices=tuple(PROFILES),
    ),
    ParameterSpec(
        "warn_no_input",
        2.0,
        "Time (s) without a complete set of inputs, while somebody listens, for WARN in "
        "/diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 3600.0),
    ),
)


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
