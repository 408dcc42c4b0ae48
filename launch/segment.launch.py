"""Start the segmenter: `ros2 launch camss_ros segment.launch.py image:=/camera/image_raw`."""

from launch.actions import OpaqueFunction

from camss_ros.nodes.harness.launch_segmenter import segmenter, segmenter_arguments
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The launch arguments and the segmenter."""
    return LaunchDescription(
        [*segmenter_arguments(), OpaqueFunction(function=lambda context: [segmenter(context)])]
    )
