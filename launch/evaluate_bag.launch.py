"""Play a bag through the segmenter and record what it publishes:

    ros2 launch camss_ros evaluate_bag.launch.py bag:=drive image:=/camera/image_raw \\
        output:=drive_masks

The bag starts when the segmenter is active and all of it ends with the bag. `camss-ros replay`
scores besides, and `camss-ros evaluate-bag` segments every image, whatever time it takes.
"""

from __future__ import annotations

from collections.abc import Callable

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.event_handlers import OnStateTransition

from camss_ros.nodes.interfaces import PUBLISHED
from camss_ros.nodes.launch_segmenter import segmenter, segmenter_arguments
from launch import Action, LaunchContext, LaunchDescription

# s, in which the bag's publishers and their subscribers find each other
DISCOVERY_TIME = 3.0
# s, for the last image
DRAIN_TIME = 5.0


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
            OpaqueFunction(function=_evaluation),
        ]
    )


def _evaluation(context: LaunchContext) -> list:
    namespace = LaunchConfiguration("namespace").perform(context).strip("/")
    prefix = f"/{namespace}" if namespace else ""
    topics = [endpoint.resolved(namespace=prefix) for endpoint in PUBLISHED]
    node = segmenter(context)
    recorder = ExecuteProcess(
        # Not ignored: a topic whose type comes with the first message.
        cmd=["ros2", "bag", "record", "--output", LaunchConfiguration("output"), *topics],
        output="screen",
    )
    player = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", LaunchConfiguration("bag"), "--clock"),
            *("--rate", LaunchConfiguration("rate"), "--delay", str(DISCOVERY_TIME)),
            "--disable-keyboard-controls",
        ],
        output="screen",
    )
    bag_ended = TimerAction(
        period=DRAIN_TIME, actions=[EmitEvent(event=Shutdown(reason="the bag has ended"))]
    )
    node_ended = EmitEvent(event=Shutdown(reason="the segmenter has ended"))
    return [
        RegisterEventHandler(
            OnStateTransition(target_lifecycle_node=node, goal_state="active", entities=[player])
        ),
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=_first(bag_ended))),
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_first(node_ended))),
        recorder,
        node,
    ]


def _first(action: Action) -> Callable[[ProcessExited, LaunchContext], Action | None]:
    """`action`, but not in a shutdown: launch_ros fails at a second Shutdown event."""
    return lambda event, context: None if context.is_shutdown else action
