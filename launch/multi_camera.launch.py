"""One segmenter for each camera, in a namespace of its own:

    ros2 launch camss_ros multi_camera.launch.py cameras:="[front, left]" image:=image_raw

`front` listens to `/front/image_raw` and publishes `/front/segmentation/mask`.
"""

import re

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from camss_ros.nodes.launch_segmenter import segmenter, segmenter_arguments
from launch import LaunchContext, LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The launch arguments and the segmenters."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "cameras",
                description="Names of the cameras, such as [front, left]: each is a namespace "
                "below `namespace`. Topics that begin with / are the same for all.",
            ),
            *segmenter_arguments(),
            OpaqueFunction(function=_segmenters),
        ]
    )


def _segmenters(context: LaunchContext) -> list[LifecycleNode]:
    namespace = LaunchConfiguration("namespace").perform(context).strip("/")
    prefix = f"/{namespace}" if namespace else ""
    cameras = _names(LaunchConfiguration("cameras").perform(context))
    return [segmenter(context, f"{prefix}/{camera}") for camera in cameras]


def _names(text: str) -> list[str]:
    """The names in "[front, left]". Raises ValueError."""
    try:
        names = yaml.safe_load(text)
    except yaml.YAMLError:
        names = None
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z]\w*", name) for name in names)
        or len(set(names)) < len(names)
    ):
        raise ValueError(
            f"cameras:={text}: expected a list of different names of letters, digits and _, "
            'such as cameras:="[front, left]"'
        )
    return names
