"""What rclpy of Humble lacks, which has no wheel, is done without."""

import subprocess
import sys

import pytest
from rclpy.subscription import Subscription
from scripted_node import Running

from camss_ros.nodes.qos import publisher_count

# rclpy.event_handler is called rclpy.qos_event there.
_IMPORTS = """
import sys
from types import ModuleType
import rclpy.lifecycle
import rclpy.event_handler as later

earlier = ModuleType("rclpy.qos_event")
earlier.PublisherEventCallbacks = later.PublisherEventCallbacks
earlier.SubscriptionEventCallbacks = later.SubscriptionEventCallbacks
sys.modules |= {"rclpy.qos_event": earlier, "rclpy.event_handler": None}

import camss_ros.nodes.harness.bag_player
import camss_ros.nodes.harness.video_publisher
import camss_ros.nodes.projection.node
import camss_ros.run_segmenter
"""


def test_the_nodes_can_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_publishers_of_a_topic_are_counted(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Subscription, "get_publisher_count")
    assert publisher_count(node.peer.node, node.mask) == 1
