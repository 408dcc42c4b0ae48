"""Start the segmenter: `ros2 launch camss_ros segment.launch.py image:=/camera/image_raw`.

With `projector:=true` the projector too.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode

from camss_ros.nodes.harness.launch_projector import projector, projector_arguments
from camss_ros.nodes.harness.launch_segmenter import segmenter, segmenter_arguments, typed_value
from launch import LaunchContext, LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The launch arguments, the segmenter, and the projector where it is asked for."""
    return LaunchDescription(
        [
            *segmenter_arguments(),
            DeclareLaunchArgument(
                "projector",
                default_value="false",
                description="true: the projector too, which puts the masks into the world.",
            ),
            *projector_arguments(alone=False),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[LifecycleNode]:
    wanted = typed_value(context, "projector", bool)
    return [segmenter(context), *([projector(context, alone=False)] if wanted else [])]
