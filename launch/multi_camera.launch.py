"""One segmenter for several cameras, with one model in memory:

    ros2 launch camss_ros multi_camera.launch.py cameras:="[front, left]" image:=image_raw

It listens to `front/image_raw` and `left/image_raw` and publishes `front/segmentation/mask` and
`left/segmentation/mask`.
"""

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from camss_ros.nodes.camera_names import camera_names_problem
from camss_ros.nodes.harness.launch_segmenter import segmenter, segmenter_arguments
from launch import LaunchContext, LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The launch arguments and the segmenter."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "cameras",
                description="Names of the cameras, such as [front, left]. `image` and "
                "`camera_info` are topics below each of them.",
            ),
            *segmenter_arguments(),
            OpaqueFunction(function=_segmenter),
        ]
    )


def _segmenter(context: LaunchContext) -> list[LifecycleNode]:
    cameras = _names(LaunchConfiguration("cameras").perform(context))
    for name in ("image", "camera_info"):
        topic = LaunchConfiguration(name).perform(context)
        if topic.startswith(("/", "~")):
            raise ValueError(
                f"{name}:={topic} would be the topic of every camera: expected a name below "
                f"theirs, such as {name}:={topic.strip('/~').rpartition('/')[2] or name}"
            )
    return [segmenter(context, cameras)]


def _names(text: str) -> list[str]:
    """The names in "[front, left]". Raises ValueError."""
    try:
        names = yaml.safe_load(text)
    except yaml.YAMLError:
        names = None
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise ValueError(
            f'cameras:={text}: expected a list of names, such as cameras:="[front, left]"'
        )
    if problem := camera_names_problem(names):
        raise ValueError(f"cameras:={text}: {problem}")
    return names
