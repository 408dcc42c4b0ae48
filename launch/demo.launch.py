"""A video as a camera, the segmenter, and RViz:

    ros2 launch camss_ros demo.launch.py path:=drive.mp4

Without a video it is the synthetic street. `make demo` is the same without a ROS installation.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from camss_ros.nodes.demo_environment import large_images
from camss_ros.nodes.launch_segmenter import segmenter, segmenter_arguments
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The launch arguments, the camera, the segmenter and RViz."""
    config = PathJoinSubstitution([FindPackageShare("camss_ros"), "config", "segmentation.rviz"])
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
            *(SetEnvironmentVariable(name, value) for name, value in large_images().items()),
            OpaqueFunction(function=lambda context: [segmenter(context)]),
            Node(
                package="camss_ros",
                executable="video_publisher",
                name="video_publisher",
                namespace=LaunchConfiguration("namespace"),
                output="screen",
                parameters=[
                    {
                        "path": ParameterValue(LaunchConfiguration("path"), value_type=str),
                        "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                        "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                        "wait_for_subscriber": True,
                    }
                ],
                remappings=[
                    ("image", LaunchConfiguration("image")),
                    ("camera_info", LaunchConfiguration("camera_info")),
                ],
            ),
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=LaunchConfiguration("namespace"),
                arguments=["--display-config", config],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )
