"""Start the segmenter: `ros2 launch camss_ros segment.launch.py image:=/camera/image_raw`."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

# Parameters of the node that have a launch argument: type and description.
PARAMETERS = {
    "model": (str, "Bundled model, directory of a saved one, or Hugging Face Hub id."),
    "device": (str, "auto, cpu, cuda or cuda:N."),
    "backend": (str, "auto, torch, compile, onnxruntime, openvino or tensorrt."),
    "steps": (int, "Denoising steps a frame, 1 to 1000."),
    "use_sim_time": (bool, "true: take the time from /clock, as with a replayed bag."),
}


def generate_launch_description() -> LaunchDescription:
    """The launch arguments and the segmenter."""
    default_parameters = PathJoinSubstitution(
        [FindPackageShare("camss_ros"), "config", "segmenter.yaml"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of the node and its topics."
            ),
            DeclareLaunchArgument("image", default_value="image", description="Image topic."),
            DeclareLaunchArgument(
                "camera_info", default_value="camera_info", description="Calibration topic."
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=default_parameters,
                description="YAML file of parameters.",
            ),
            *(
                DeclareLaunchArgument(
                    name, default_value="", description=f"{description} Empty: as in params_file."
                )
                for name, (_, description) in PARAMETERS.items()
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                description="Of the node.",
                choices=["debug", "info", "warn", "error", "fatal"],
            ),
            OpaqueFunction(function=_segmenter),
        ]
    )


def _segmenter(context: LaunchContext) -> list[Node]:
    # Only the arguments that were given override the file.
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if LaunchConfiguration(name).perform(context)
    }
    return [
        Node(
            package="camss_ros",
            executable="segmenter",
            name="segmenter",
            namespace=LaunchConfiguration("namespace"),
            output="screen",
            parameters=[LaunchConfiguration("params_file"), *([given] if given else [])],
            remappings=[
                ("image", LaunchConfiguration("image")),
                ("image/compressed", [LaunchConfiguration("image"), "/compressed"]),
                ("camera_info", LaunchConfiguration("camera_info")),
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        )
    ]
