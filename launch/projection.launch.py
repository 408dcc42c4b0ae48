"""Start the projector beside a segmenter that runs already:

ros2 launch camss_ros projection.launch.py depth:=/camera/aligned_depth_to_color/image_raw
"""

from launch.actions import OpaqueFunction

from camss_ros.nodes.harness.launch_projector import projector, projector_arguments
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The launch arguments and the projector."""
    return LaunchDescription(
        [
            *projector_arguments(alone=True),
            OpaqueFunction(function=lambda context: [projector(context, alone=True)]),
        ]
    )
