"""How topics and services are described, and those that ROS 2 gives every lifecycle node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """A topic or service.

    Attributes:
        name: as in the code: relative, `~/` below the node's name, or absolute.
        type: such as sensor_msgs/msg/Image.
        description: what it carries, and when.
        qos: the parameter that chooses it, or `latched` (reliable, transient local, depth 1),
            `reliable` (volatile, depth 10) or `ros` (what ROS gives the topic); empty for services.
        only_with: parameter of the node, and its values with which it exists.
        needs: package without which it does not exist.
    """

    name: str
    type: str
    description: str
    qos: str = ""
    only_with: tuple[str, tuple[str, ...]] | None = None
    needs: str = ""

    def resolved(self, node: str = "segmenter", namespace: str = "") -> str:
        """The full name in a namespace such as `/front` (empty: the root), before remapping."""
        if self.name.startswith("/"):
            return self.name
        if self.name.startswith("~/"):
            return f"{namespace}/{node}/{self.name[2:]}"
        return f"{namespace}/{self.name}"


# What ROS 2 gives every lifecycle node.
ROS_SUBSCRIBED = (
    Endpoint(
        "/clock",
        "rosgraph_msgs/msg/Clock",
        "The time.",
        "ros",
        ("use_sim_time", ("true",)),
    ),
)
ROS_PUBLISHED = (
    Endpoint("/rosout", "rcl_interfaces/msg/Log", "The log.", "ros"),
    Endpoint(
        "/parameter_events",
        "rcl_interfaces/msg/ParameterEvent",
        "Parameters that were set.",
        "ros",
    ),
    Endpoint(
        "~/transition_event",
        "lifecycle_msgs/msg/TransitionEvent",
        "Lifecycle transitions.",
        "ros",
    ),
)
ROS_SERVICES = tuple(
    Endpoint(f"~/{name}", kind, description)
    for name, kind, description in (
        ("change_state", "lifecycle_msgs/srv/ChangeState", "Make a lifecycle transition."),
        ("get_state", "lifecycle_msgs/srv/GetState", "The lifecycle state."),
        ("get_available_states", "lifecycle_msgs/srv/GetAvailableStates", "All states."),
        (
            "get_available_transitions",
            "lifecycle_msgs/srv/GetAvailableTransitions",
            "Transitions from the state.",
        ),
        (
            "get_transition_graph",
            "lifecycle_msgs/srv/GetAvailableTransitions",
            "All transitions.",
        ),
        ("get_parameters", "rcl_interfaces/srv/GetParameters", "Values."),
        ("get_parameter_types", "rcl_interfaces/srv/GetParameterTypes", "Types."),
        ("set_parameters", "rcl_interfaces/srv/SetParameters", "Set each that is accepted."),
        (
            "set_parameters_atomically",
            "rcl_interfaces/srv/SetParametersAtomically",
            "Set all or none.",
        ),
        (
            "describe_parameters",
            "rcl_interfaces/srv/DescribeParameters",
            "Descriptions and ranges.",
        ),
        ("list_parameters", "rcl_interfaces/srv/ListParameters", "Names."),
        (
            "get_type_description",
            "type_description_interfaces/srv/GetTypeDescription",
            "Definitions of the message types (from Jazzy on).",
        ),
    )
)
