"""Why no image comes, and which parameter mends it."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_LISTED = 5


def explain_silence(node: Node, topic: str, kind: str, qos: QoSProfile) -> str:
    """What the ROS graph says about a topic of type `kind` that `node` subscribes to with `qos`."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        same = [name for name, kinds in node.get_topic_names_and_types() if kind in kinds]
        others = [name for name in same if name != topic and _has_other_publisher(node, name)]
        listed = ", ".join(others[:_LISTED])
        return f"nobody publishes {topic}" + (f"; {kind} is on {listed}: remap" if others else "")
    return f"{topic}: " + "; ".join(_publisher(info, kind, qos) for info in publishers[:_LISTED])


def _has_other_publisher(node: Node, topic: str) -> bool:
    """Whether anybody else than the node publishes a topic: its own label images are no camera."""
    own = (node.get_name(), node.get_namespace())
    publishers = node.get_publishers_info_by_topic(topic)
    return any((info.node_name, info.node_namespace) != own for info in publishers)


def _publisher(info: Any, kind: str, qos: QoSProfile) -> str:
    name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
    if info.topic_type != kind:
        hint = "set image_transport" if _COMPRESSED in (info.topic_type, kind) else "remap"
        return f"{name} publishes {info.topic_type} instead of {kind}: {hint}"
    compatible, reason = qos_check_compatible(info.qos_profile, qos)
    if compatible == QoSCompatibility.ERROR:
        return (
            f"{name} has an incompatible quality of service ({reason.strip().rstrip(';')}): "
            "set image_qos to sensor_data, which receives from every publisher"
        )
    return f"{name} publishes it with matching quality of service, but nothing arrives"
