"""Play a bag through the segmenter and record what it publishes:

    ros2 launch camss_ros evaluate_bag.launch.py bag:=drive image:=/camera/image_raw \\
        output:=drive_masks

The bag starts when the segmenter is active, with the backend that it keeps, and all of it ends with
the bag, or with an error as soon as one of the three has failed. Of the bag, images and calibration
are played. `camss-ros replay` scores besides, and `camss-ros evaluate-bag` segments every image,
whatever time it takes.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessExit, OnShutdown
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.ros_adapters import get_ros_node

from camss_ros.nodes.endpoints import Endpoint
from camss_ros.nodes.harness.child_process import large_images
from camss_ros.nodes.harness.launch_segmenter import (
    end_with,
    full_namespace,
    segmenter,
    segmenter_arguments,
    typed_value,
)
from camss_ros.nodes.segmenter.diagnostics import MEASURING, PROCESS
from camss_ros.nodes.segmenter.interfaces import PUBLISHED
from launch import Action, Event, EventHandler, LaunchContext, LaunchDescription

# s, in which the bag's publishers and their subscribers find each other
DISCOVERY_TIME = 3.0
# s, for the last image
DRAIN_TIME = 5.0
# s; before and after the bag, images are not missing
WARN_NO_IMAGE = 2 * max(DISCOVERY_TIME, DRAIN_TIME)
# messages that wait for a recorder that is busy; its own 10 are a third of a second
QUEUE = 1000


def generate_launch_description() -> LaunchDescription:
    """The launch arguments, the segmenter, the player and the recorder."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="The rosbag2 that is played."),
            DeclareLaunchArgument(
                "output", description="Folder of the recorded rosbag2; must not exist."
            ),
            DeclareLaunchArgument(
                "rate", default_value="1.0", description="Times the pace of the recording."
            ),
            *segmenter_arguments({"use_sim_time": "true"}),
            *(SetEnvironmentVariable(name, value) for name, value in large_images().items()),
            OpaqueFunction(function=_evaluation),
        ]
    )


def _evaluation(context: LaunchContext) -> list:
    bag, output = (LaunchConfiguration(n).perform(context) for n in ("bag", "output"))
    if not Path(bag).exists():
        raise ValueError(f"bag:={bag}: there is no such file or folder")
    if Path(output).exists():
        raise ValueError(f"output:={output} exists already: expected the name of a new folder")
    typed_value(context, "rate", float)
    namespace = full_namespace(context)
    topics = {endpoint.resolved(namespace=namespace): endpoint.qos for endpoint in PUBLISHED}
    # `default` is reliable and keeps ten: nothing is lost on the way to the recorder.
    # One camera, whatever the file says: `image` is that of no other.
    parameters = {"output_qos": "default", "warn_no_image": WARN_NO_IMAGE, "cameras": [""]}
    node = segmenter(context, parameters=parameters)
    overrides = _recorder_qos([name for name, qos in topics.items() if qos == "output_qos"])
    # Humble knows no such option, Lyrical takes no topics without it.
    option = () if os.environ.get("ROS_DISTRO") == "humble" else ("--topics",)
    recorder = ExecuteProcess(
        # Not ignored: a topic whose type comes with the first message.
        cmd=[
            *("ros2", "bag", "record", "--output", output),
            *("--qos-profile-overrides-path", overrides.name, *option, *topics),
        ],
        output="screen",
    )
    player = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", bag, "--clock"),
            *("--rate", LaunchConfiguration("rate"), "--delay", str(DISCOVERY_TIME)),
            # Not masks or /diagnostics that the bag may have as well: they would be recorded too.
            *("--disable-keyboard-controls", "--topics", *_inputs(context, namespace)),
        ],
        output="screen",
    )
    return [
        _when_ready(context, f"{namespace}/segmenter", node, player),
        end_with(recorder, "the recorder"),
        end_with(node, "the segmenter"),
        end_with(player, "the player", only_failed=True),
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=_drain)),
        RegisterEventHandler(OnShutdown(on_shutdown=lambda event, context: overrides.close())),
        recorder,
        node,
    ]


def _inputs(context: LaunchContext, namespace: str) -> list[str]:
    """Full names of the topics that the segmenter reads."""
    image, camera_info = (
        LaunchConfiguration(name).perform(context) for name in ("image", "camera_info")
    )
    names = (image, f"{image}/compressed", camera_info)
    return [Endpoint(name, "", "").resolved(namespace=namespace) for name in names]


class Report(Event):
    """Why the segmenter cannot be used; empty as soon as it can."""

    name = "camss_ros.Report"

    def __init__(self, problem: str) -> None:
        self.problem = problem


def _when_ready(
    context: LaunchContext, name: str, node: Any, action: Action
) -> RegisterEventHandler:
    """Start `action` as soon as the segmenter is active, and has measured the backends; fail where
    it cannot be, and where there is another one of its name, whose masks would be recorded too.

    By /diagnostics, which come once a second. Its transitions are told once each, also before DDS
    has matched this process with the node, which may fail within a second of its start.
    """

    def on_diagnostics(message: DiagnosticArray) -> None:  # in a thread of launch_ros
        for status in message.status:
            if status.name.startswith(f"{name}: "):
                values = {it.key: it.value for it in status.values}
                active = values["state"] == "active"
                ready = active and values[MEASURING] == str(False)
                problem = ""
                if values.get(PROCESS) != str((node.process_details or {}).get("pid")):
                    problem = f"there is another {name}: end it, or give namespace:=NAME"
                elif status.level == DiagnosticStatus.ERROR and not active:
                    problem = f"the segmenter is not active: {status.message}"
                if ready or problem:
                    report = Report(problem)
                    context.asyncio_loop.call_soon_threadsafe(context.emit_event_sync, report)

    def react(context: LaunchContext) -> list[Action]:
        report = context.locals.event
        if report.problem:
            raise RuntimeError(report.problem)
        return [action]

    get_ros_node(context).create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    return RegisterEventHandler(
        EventHandler(
            matcher=lambda event: isinstance(event, Report),
            entities=[OpaqueFunction(function=react)],
            handle_once=True,
        )
    )


def _recorder_qos(topics: list[str]) -> Any:
    """A file that tells the recorder how to subscribe to images; it vanishes when it is closed."""
    profile = {
        "reliability": "reliable", "durability": "volatile", "history": "keep_last", "depth": QUEUE,
    }  # fmt: skip
    file = tempfile.NamedTemporaryFile("w", prefix="recorder_qos_", suffix=".yaml")  # noqa: SIM115
    json.dump(dict.fromkeys(topics, profile), file)  # JSON is YAML
    file.flush()
    return file


def _drain(event: ProcessExited, context: LaunchContext) -> Action | None:
    """Wait for the last masks and end; not in a shutdown: launch_ros fails at a second one."""
    if context.is_shutdown or event.returncode:
        return None
    end = EmitEvent(event=Shutdown(reason="the bag has ended"))
    return TimerAction(period=DRAIN_TIME, actions=[end])
