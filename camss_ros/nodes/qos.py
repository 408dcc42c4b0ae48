"""Quality-of-service profiles by name, so that a parameter can choose one, and who is told where
two do not match."""

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import (  # noqa: F401
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
    )
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
    qos_profile_system_default,
)

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
