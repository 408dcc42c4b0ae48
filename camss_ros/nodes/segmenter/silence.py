"""Why nothing comes on a topic of images, by what the ROS graph knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from camss_ros.nodes.endpoints import node_of

_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_SUFFIX = "/compressed"
_STATUS = "camss_ros/msg/SegmenterStatus"
_LISTED = 5
_UNKNOWN = "_NODE_NAME_UNKNOWN_"  # of rmw, for a node that the graph does not know yet


def explain_silence(node: Node, subscription: Any) -> str:
    """Who publishes what a subscription of images asks for, or what else there is, and a remedy."""
    topic, message = subscription.topic_name, subscription.msg_type
    kind = f"{message.__module__.partition('.')[0]}/msg/{message.__name__}"
    # which remaps the name once more, to that of the other one where two cameras are swapped
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers or not node.count_publishers(topic):
        other = _other_transport(topic)
        there = {info.topic_type for info in node.get_publishers_info_by_topic(other)}
        if there & ({_RAW, _COMPRESSED} - {kind}):
            return f"nobody publishes {topic}, but {other} is there: set image_transport"
        others = list(_cameras_of_others(node, kind))
        hint = f"; {kind} is on {', '.join(others[:_LISTED])}: remap" if others else ""
        return f"nobody publishes {topic}{hint}"
    found = [_publisher(info, kind, subscription.qos_profile) for info in publishers[:_LISTED]]
    return f"{topic}: {'; '.join(found)}"


def explain_mismatch(node: Node, subscription: Any) -> str:
    """Whose quality of service does not match that of a subscription, and a remedy; empty where
    that is nobody's, or of nodes that are not known yet."""
    found = [
        _mismatch(info, subscription.qos_profile)
        for info in node.get_publishers_info_by_topic(subscription.topic_name)
        if info.node_name != _UNKNOWN
    ]
    text = "; ".join(filter(None, found))
    return f"{subscription.topic_name}: {text}" if text else ""


def _other_transport(topic: str) -> str:
    """Where image_transport publishes a camera in the other of raw and compressed."""
    raw = topic.removesuffix(_SUFFIX)
    return f"{topic}{_SUFFIX}" if raw in ("", topic) else raw


def _cameras_of_others(node: Node, kind: str) -> Iterator[str]:
    """The topics of a type that may be those of cameras and are not listened to: the label images
    of this segmenter, or of another, are no cameras."""
    topics = node.get_topic_names_and_types()

    def publishers(topic: str) -> set[str]:
        return set(map(node_of, node.get_publishers_info_by_topic(topic)))

    segmenters = set().union(*(publishers(name) for name, kinds in topics if _STATUS in kinds))
    taken = {subscription.topic_name for subscription in node.subscriptions}
    for name, kinds in topics:
        if kind in kinds and name not in taken and publishers(name) - segmenters:
            yield name


def _publisher(info: Any, kind: str, qos: QoSProfile) -> str:
    name = node_of(info)
    if info.topic_type != kind:
        hint = "set image_transport" if _COMPRESSED in (info.topic_type, kind) else "remap"
        return f"{name} publishes {info.topic_type} instead of {kind}: {hint}"
    matching = f"{name} publishes it with matching quality of service, but nothing arrives"
    return _mismatch(info, qos) or matching


def _mismatch(info: Any, qos: QoSProfile) -> str:
    compatible, reason = qos_check_compatible(info.qos_profile, qos)
    if compatible != QoSCompatibility.ERROR:
        return ""
    return (
        f"{node_of(info)} has an incompatible quality of service ({reason.strip().rstrip(';')}): "
        "set image_qos to sensor_data, which receives from every publisher"
    )
