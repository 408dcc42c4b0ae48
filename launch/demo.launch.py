"""A video as a camera, the segmenter, and RViz; with the synthetic street the projector too:

    ros2 launch camss_ros demo.launch.py path:=drive.mp4

Without a video it is the synthetic street. `make demo` is the same without a ROS installation.
"""

from __future__ import annotations

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from camss_ros.nodes.harness.child_process import large_images
from camss_ros.nodes.harness.launch_projector import projector, projector_arguments
from camss_ros.nodes.harness.launch_segmenter import (
    end_with,
    parameter_value,
    segmenter,
    segmenter_arguments,
    typed_value,
)
from launch import LaunchContext, LaunchDescription

STREET_CAMERA_HEIGHT = 1.4  # m


def generate_launch_description() -> LaunchDescription:
    """The launch arguments, the camera, the segmenter and RViz."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "path",
                default_value="synthetic",
                description="Video file, image, image folder, or synthetic[:dusk|:fog].",
            ),
            DeclareLaunchArgument(
                "rate",
                default_value="4.0",
                description="Images a second; 0: the video's own stamps.",
            ),
            DeclareLaunchArgument(
                "loop", default_value="true", description="true: start again at the end."
            ),
            DeclareLaunchArgument(
                "rviz", default_value="true", description="true: show it in RViz."
            ),
            *segmenter_arguments(),
            *projector_arguments(alone=False),
            *(SetEnvironmentVariable(name, value) for name, value in large_images().items()),
            OpaqueFunction(function=_demo),
        ]
    )


def _demo(context: LaunchContext) -> list:
    # The same names for whoever publishes and whoever shows it.
    topics = [(name, LaunchConfiguration(name)) for name in ("image", "camera_info")]
    kinds = {"path": str, "rate": float, "loop": bool}
    # The street knows its depth, and where its camera is.
    is_street = LaunchConfiguration("path").perform(context).partition(":")[0] == "synthetic"
    camera = Node(
        package="camss_ros",
        executable="video_publisher",
        name="video_publisher",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            {name: parameter_value(context, name, kind) for name, kind in kinds.items()}
            | {"wait_for_subscriber": True, "depth": is_street}
        ],
        remappings=topics,
    )
    node = segmenter(context)
    respawns = typed_value(context, "respawn", bool)
    return [
        end_with(camera, "video_publisher", only_failed=True),
        *([] if respawns else [end_with(node, "the segmenter")]),
        node,
        camera,
        *([projector(context, alone=False), _street_camera()] if is_street else []),
        *_rviz(context, topics, "projection" if is_street else "segmentation"),
    ]


def _street_camera() -> Node:
    """Tells TF where the camera of the synthetic street is on its vehicle."""
    turn = {"qx": -0.5, "qy": 0.5, "qz": -0.5, "qw": 0.5}  # x forward -> z forward
    frames = {"frame-id": "base_link", "child-frame-id": "camera_optical_frame"}
    places = {"z": STREET_CAMERA_HEIGHT, **turn, **frames}
    return Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        namespace=LaunchConfiguration("namespace"),
        arguments=[part for name, value in places.items() for part in (f"--{name}", str(value))],
    )


def _rviz(context: LaunchContext, topics: list, layout: str) -> list:
    if not typed_value(context, "rviz", bool):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed: the demo goes on without a display")]
    config = PathJoinSubstitution([FindPackageShare("camss_ros"), "config", f"{layout}.rviz"])
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=LaunchConfiguration("namespace"),
            arguments=["--display-config", config],
            remappings=topics,
        )
    ]
