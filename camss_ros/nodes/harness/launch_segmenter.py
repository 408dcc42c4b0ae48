"""What the launch files share: the arguments of the segmenter, and the segmenter.

Needs launch and launch_ros, which come with a ROS installation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from launch.actions import DeclareLaunchArgument, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from camss_ros.nodes.segmenter.parameters import SPECS

# Parameters of the node that are launch arguments too, beside `use_sim_time`.
PARAMETERS = (
    "model",
    "device",
    "backend",
    "precision",
    "steps",
    "image_transport",
    "mask_format",
    "label_set",
)
# A launch argument of every node.
RESPAWN = {"respawn": ("false", "true: start the node again whenever its process has ended.")}
_RESPAWN_DELAY = 2.0  # s, before a node that has ended is started again

_SPECS = {spec.name: spec for spec in SPECS}
_EXPECTED = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


def segmenter_arguments(
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> list[DeclareLaunchArgument]:
    """The launch arguments of a segmenter; `defaults` replaces default values of some."""
    others = {
        "namespace": ("", "Namespace of the node and its topics."),
        "image": ("image", "Image topic, without /compressed."),
        "camera_info": ("camera_info", "Calibration topic."),
        "params_file": (
            PathJoinSubstitution([FindPackageShare("camss_ros"), "config", "segmenter.yaml"]),
            "YAML file of parameters.",
        ),
    }
    parameters = {name: ("", _description(name)) for name in PARAMETERS}
    parameters["use_sim_time"] = (
        "",
        "true: take the time from /clock, as with a replayed bag. Empty: as in params_file, "
        "else false.",
    )
    return [*declare(others | parameters | RESPAWN, defaults), log_level()]


def declare(
    arguments: Mapping[str, tuple[Any, str]], defaults: Mapping[str, str] = MappingProxyType({})
) -> list[DeclareLaunchArgument]:
    """Launch arguments by name, each default value and description; see `segmenter_arguments`."""
    return [
        DeclareLaunchArgument(
            name, default_value=defaults.get(name, default), description=description
        )
        for name, (default, description) in arguments.items()
    ]


def log_level() -> DeclareLaunchArgument:
    """A launch argument of every node."""
    return DeclareLaunchArgument(
        "log_level",
        default_value="info",
        description="Log level of the node.",
        choices=["debug", "info", "warn", "error", "fatal"],
    )


def segmenter(
    context: Any,
    cameras: Sequence[str] = (),
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> LifecycleNode:
    """The segmenter that the arguments of the launch `context` describe.

    It configures and activates itself.

    Args:
        cameras: names; topics are those of each.
        parameters: override the file of parameters.

    Raises:
        ValueError: as of `managed_node`.
    """
    types = {name: type(_SPECS[name].default) for name in PARAMETERS} | {"use_sim_time": bool}
    image, camera_info = LaunchConfiguration("image"), LaunchConfiguration("camera_info")
    remappings: list[tuple[str, Any]] = []
    for prefix in [f"{camera}/" for camera in cameras] or [""]:
        remappings += [
            (f"{prefix}image", [prefix, image]),
            (f"{prefix}image/compressed", [prefix, image, "/compressed"]),
            (f"{prefix}camera_info", [prefix, camera_info]),
        ]
    given = {**parameters, "cameras": list(cameras)} if cameras else dict(parameters)
    return managed_node(context, "segmenter", "params_file", types, remappings, given)


def managed_node(
    context: Any,
    name: str,
    file: str,
    types: Mapping[str, type],
    remappings: Sequence[tuple[str, Any]],
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> LifecycleNode:
    """The lifecycle node that the arguments of the launch `context` describe.

    Args:
        name: of the node and its program.
        file: the argument that names its file of parameters.
        types: of the arguments that are parameters, which override the file.
        parameters: others, which do so too.

    Raises:
        ValueError: an argument of a wrong type, or no such file, without which launch_ros goes on.
    """
    typed_value(context, "respawn", bool)
    path = LaunchConfiguration(file).perform(context)
    if not Path(path).is_file():
        raise ValueError(f"{file}:={path}: there is no such file")
    logger = f"{full_namespace(context)}/{name}"[1:].replace("/", ".")
    given = dict(parameters) | {
        argument: parameter_value(context, argument, kind)
        for argument, kind in types.items()
        if LaunchConfiguration(argument).perform(context)
    }
    return LifecycleNode(
        package="camss_ros",
        executable=name,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[LaunchConfiguration(file), *([given] if given else [])],
        remappings=remappings,
        # Of the node alone: rcl's own lines would drown it.
        ros_arguments=["--log-level", [f"{logger}:=", LaunchConfiguration("log_level")]],
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=_RESPAWN_DELAY,
    )


def full_namespace(context: Any) -> str:
    """The namespace of the segmenter, such as "/front", empty for the root; within the one that an
    including launch file has pushed."""
    namespace = LaunchConfiguration("namespace").perform(context)
    if not namespace.startswith("/"):
        namespace = f"{context.launch_configurations.get('ros_namespace', '')}/{namespace}"
    return "".join(f"/{name}" for name in namespace.split("/") if name)


def parameter_value(context: Any, name: str, kind: type) -> ParameterValue:
    """The launch argument `name` as a parameter of a node.

    Raises:
        ValueError: as of `typed_value`.
    """
    typed_value(context, name, kind)
    return ParameterValue(LaunchConfiguration(name), value_type=kind)


def typed_value(context: Any, name: str, kind: type) -> Any:
    """The value of the launch argument `name` as a bool, int, float or str.

    Raises:
        ValueError: it is none; this names the argument, launch's own checks tell the value only.
    """
    text = LaunchConfiguration(name).perform(context)
    try:
        value = yaml.safe_load(text) if kind is bool else kind(text)
    except (ValueError, yaml.YAMLError):
        value = None
    if not isinstance(value, kind):
        raise ValueError(f"{name}:={text}: expected {_EXPECTED[kind]}")
    return value


def end_with(process: Any, name: str, *, only_failed: bool = False) -> RegisterEventHandler:
    """End the launch, as an error, when `process` ends; with `only_failed`, not at exit code 0."""

    def ended(event: Any, context: Any) -> None:
        # In a shutdown every process ends.
        if not context.is_shutdown and (event.returncode or not only_failed):
            raise RuntimeError(
                f"{name} has ended with exit code {event.returncode}; its last output says why"
            )

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=ended))


def _description(name: str) -> str:
    spec = _SPECS[name]
    values = f" One of: {', '.join(spec.choices)}." if spec.choices else ""
    if spec.bounds is not None:
        values = f" {spec.bounds[0]} to {spec.bounds[1]}."
    default = spec.default if spec.default != "" else '""'
    return f"{spec.description}{values} Empty: as in params_file, else {default}."
