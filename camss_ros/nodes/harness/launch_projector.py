"""What the launch files share of the projector: its arguments, and the node.

Needs launch and launch_ros, which come with a ROS installation.
"""

from __future__ import annotations

from typing import Any

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.substitutions import FindPackageShare

from camss_ros.nodes.harness.launch_segmenter import RESPAWN, declare, log_level, managed_node

# Launch arguments that are topics of the node.
_TOPICS = {
    "depth": ("depth/image", "Depth image, registered to the camera."),
    "depth_camera_info": ("depth/camera_info", "Calibration of the depth images."),
    "points": ("points", "Point cloud of a lidar, with cloud_from:=lidar."),
    "odometry": ("odometry", "Odometry, with grid_memory in projector_file."),
}


def projector_arguments(*, alone: bool) -> list[DeclareLaunchArgument]:
    """The launch arguments of a projector; `alone`: also those that it shares with a segmenter."""
    others = {
        "projector_file": (
            PathJoinSubstitution([FindPackageShare("camss_ros"), "config", "projector.yaml"]),
            "YAML file of the projector's parameters.",
        ),
        "cloud_from": (
            "",
            "What labeled_cloud is made of: depth, lidar or none. Empty: as in projector_file, "
            "else depth.",
        ),
        **_TOPICS,
    }
    if not alone:
        return declare(others)
    others |= {
        "namespace": ("", "Namespace of the node and its topics."),
        "use_sim_time": ("", "true: take the time from /clock. Empty: as in projector_file."),
        **RESPAWN,
    }
    return [*declare(others), log_level()]


def projector(context: Any, *, alone: bool) -> LifecycleNode:
    """The projector that the arguments of the launch `context` describe.

    It configures and activates itself. `alone`: as of `projector_arguments`.

    Raises:
        ValueError: as of `managed_node`.
    """
    types = {"cloud_from": str, "use_sim_time": bool}
    if not alone:
        types["label_set"] = str  # in which the segmenter publishes its masks
    topics = [(topic, LaunchConfiguration(name)) for name, (topic, _) in _TOPICS.items()]
    return managed_node(context, "projector", "projector_file", types, topics)
