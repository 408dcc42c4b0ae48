"""Quality-of-service profiles by name, so that a parameter can choose one; who offers them."""

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
    qos_profile_system_default,
)
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ModuleNotFoundError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

__all__ = [
    "LATCHED",
    "LATCHED_HISTORY",
    "PROFILES",
    "PublisherEventCallbacks",
    "SubscriptionEventCallbacks",
    "publisher_count",
]

# REP-2003: sensor data for what comes from a camera, system default (reliable) for what follows it.
PROFILES = {
    "sensor_data": qos_profile_sensor_data,
    "system_default": qos_profile_system_default,
    "default": QoSProfile(depth=10),
}


def _latched(depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


# For what changes rarely: a subscriber that joins late gets the last message ...
LATCHED = _latched(1)
# ... and all that it can need to count, the names of the frames that were sent, for example.
LATCHED_HISTORY = _latched(1000)


def publisher_count(node: Node, subscription: Subscription) -> int:
    """Publishers whose messages a subscription gets; in Humble also those of another QoS."""
    if not hasattr(subscription, "get_publisher_count"):  # Humble
        return node.count_publishers(subscription.topic_name)
    return subscription.get_publisher_count()
