"""Every topic and service of the node: name, type, quality of service, and when there is one.

The node makes them where it uses them; the tests compare a running node with this list. The
topics reference is written from it.
"""

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


SUBSCRIBED = (
    Endpoint(
        "image",
        "sensor_msgs/msg/Image",
        "Every 8-bit encoding, nv12 and nv21 too; 16-bit rgb, bgr, mono and bayer scaled.",
        "image_qos",
        ("image_transport", ("raw",)),
    ),
    Endpoint(
        "image/compressed",
        "sensor_msgs/msg/CompressedImage",
        "JPEG or PNG, instead of `image`; an EXIF orientation is ignored.",
        "image_qos",
        ("image_transport", ("compressed",)),
    ),
    Endpoint(
        "camera_info",
        "sensor_msgs/msg/CameraInfo",
        "Calibration of the images; optional.",
        "image_qos",
    ),
)

PUBLISHED = (
    Endpoint(
        "segmentation/mask",
        "sensor_msgs/msg/Image",
        "Every image: mono8 class ids, 255 is void, `step == width`; with `mask_format: "
        "autoware_rle` runs of class and length.",
        "output_qos",
        ("mask_format", ("mono8", "autoware_rle")),
    ),
    Endpoint(
        "segmentation/mask/compressed",
        "sensor_msgs/msg/CompressedImage",
        "Every image, instead of `segmentation/mask`: class ids as PNG.",
        "output_qos",
        ("mask_format", ("png",)),
    ),
    Endpoint(
        "segmentation/confidence",
        "sensor_msgs/msg/Image",
        "Every image: mono8, probability of the class times 255.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/uncertainty",
        "sensor_msgs/msg/Image",
        "Every image while somebody listens: mono8, entropy over the classes, 255 is the largest.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/overlay",
        "sensor_msgs/msg/Image",
        "Every image while somebody listens: rgb8, the image under the colours of its classes.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/mask_color",
        "sensor_msgs/msg/Image",
        "Every image while somebody listens: rgb8, the mask in the colours of its classes.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/camera_info",
        "sensor_msgs/msg/CameraInfo",
        "Every image once a `camera_info` has come: the calibration scaled to the mask.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/label_info",
        "vision_msgs/msg/LabelInfo",
        "At activation, before the first mask, after `~/reload_model`, and when the threshold has "
        "changed: names of the class ids, and `ignore_below_confidence` as the threshold.",
        "latched",
        needs="vision_msgs",
    ),
    Endpoint(
        "segmentation/status",
        "camss_ros/msg/SegmenterStatus",
        "Every image, once a second, and at activation and deactivation: counts, latency, time of "
        "every stage, drift.",
        "latched",
    ),
    Endpoint(
        "/diagnostics",
        "diagnostic_msgs/msg/DiagnosticArray",
        "Once a second, in every state: rates, drops, rejections by reason, latency, memory.",
        "reliable",
    ),
)

SERVICES = (
    Endpoint(
        "~/set_enabled",
        "std_srvs/srv/SetBool",
        "Stop and go on listening to images; the model stays loaded.",
    ),
    Endpoint(
        "~/reload_model",
        "std_srvs/srv/Trigger",
        "Load the model of the parameters beside the one in use, which stays where that fails or "
        "the `guard` refuses it.",
    ),
)

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
