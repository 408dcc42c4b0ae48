"""What the node says when no image comes, and when its clock jumps back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from ros_peer import RosPeer, captured_log, rgb_image, wait_until
from rosgraph_msgs.msg import Clock
from scripted_node import Running, status
from sensor_msgs.msg import CompressedImage, Image

from camss_ros.nodes.segmenter.silence import explain_silence

RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


def explained(peer: RosPeer, *texts: str) -> DiagnosticStatus:
    """The first diagnosis of which the message has all texts."""
    if "/diagnostics" not in peer.received:
        peer.listen(DiagnosticArray, "/diagnostics")
    found = peer.wait_for("/diagnostics", lambda m: all(t in m.status[0].message for t in texts))
    return found.status[0]


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Waits until the log has all texts."""
    return lambda *texts: wait_until(
        lambda: all(text in captured_log() for text in texts),
        lambda: f"{texts} in the log:\n{captured_log()}",
    )


def test_a_topic_that_nobody_publishes_is_named(
    start: Callable[..., Running], logged: Callable[..., None]
) -> None:
    running = start(warn_no_image=0.1)
    found = explained(running.peer, "no image for", "nobody publishes /image")
    assert found.level == DiagnosticStatus.WARN
    logged("no image for", "nobody publishes /image")


def test_a_camera_on_another_topic_is_named(start: Callable[..., Running]) -> None:
    running = start(warn_no_image=0.1)
    running.peer.publisher(Image, "camera/image_raw")
    explained(running.peer, "nobody publishes /image", "is on /camera/image_raw: remap")


def test_images_that_are_no_other_camera_are_not_proposed(
    start: Callable[..., Running], domain_id: int
) -> None:
    from camss_ros.msg import SegmenterStatus

    running = start(warn_no_image=0.1, cameras=["front", "left"])
    running.peer.publisher(Image, "left/image")  # of the node itself
    running.peer.publisher(Image, "robot/image_raw")
    with closing(RosPeer(domain_id, "/other")) as other:  # another segmenter
        other.publisher(SegmenterStatus, "segmentation/status")
        other.publisher(Image, "segmentation/mask")
        text = "nobody publishes /front/image; sensor_msgs/msg/Image is on /robot/image_raw: remap"
        explained(running.peer, text)


def test_silence_becomes_an_error_and_ends_with_an_image(node: Running) -> None:
    for name, value in (("warn_no_image", 0.1), ("error_no_image", 0.2)):
        assert node.peer.set_parameter(name, value).successful
    found = explained(
        node.peer, "no image for", "/image: /peer", "matching quality of service", "nothing arrives"
    )
    assert found.level == DiagnosticStatus.ERROR
    for name in ("warn_no_image", "error_no_image"):
        assert node.peer.set_parameter(name, 3600.0).successful
    node.image.publish(rgb_image(1))
    found = node.peer.wait_for("/diagnostics", lambda m: m.status[0].message == "active")
    assert found.status[0].level == DiagnosticStatus.OK


def test_a_publisher_that_does_not_match_is_named_with_the_remedy(
    start: Callable[..., Running], logged: Callable[..., None]
) -> None:
    running = start(image_qos="default", warn_no_image=0.1)
    publisher = running.peer.publisher(Image, "image", qos_profile_sensor_data)
    remedy = ("/peer has an incompatible quality of service", "set image_qos to sensor_data")
    explained(running.peer, "no image for", "/image: ", *remedy)
    logged(*remedy)
    assert publisher.get_subscription_count() == 0

    # The remedy mends it.
    with_remedy = start(image_qos="sensor_data", warn_no_image=0.1)
    explained(with_remedy.peer, "/peer publishes it with matching quality of service")


def test_the_event_of_a_mismatch_is_said_at_once(
    start: Callable[..., Running], logged: Callable[..., None]
) -> None:
    running = start(image_qos="default", warn_no_image=0.0, error_no_image=0.0)
    wait_until(lambda: running.node._state == "active", "the node active")
    running.peer.publisher(Image, "image", qos_profile_sensor_data)
    logged("/image: /peer has an incompatible quality of service", "set image_qos to")


def test_a_mismatch_is_told_beside_images_that_arrive(
    start: Callable[..., Running],
    logged: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    domain_id: int,
) -> None:
    real, asked = Node.get_publishers_info_by_topic, []

    def publishers_info(node: Node, topic: str) -> list[Any]:
        asked.append(topic)
        found: list[Any] = real(node, topic)
        for info in found if len(asked) == 1 else ():  # the event comes before the node's name
            info.node_name = "_NODE_NAME_UNKNOWN_"
        return found

    monkeypatch.setattr(Node, "get_publishers_info_by_topic", publishers_info)
    running = start(image_qos="default")
    good = running.peer.publisher(Image, "image", RELIABLE)
    running.connect(good)
    with closing(RosPeer(domain_id, "/other")) as other:
        other.publisher(Image, "/image", qos_profile_sensor_data)
        wait_until(
            lambda: (good.publish(rgb_image(1)), "set image_qos to" in captured_log())[1],
            "the mismatch in the log",
        )
    logged("/image: /other/peer has an incompatible quality of service")
    assert "nothing arrives" not in captured_log()


def test_a_publisher_of_another_type_is_named_with_the_remedy(
    start: Callable[..., Running],
) -> None:
    running = start(warn_no_image=0.1)
    running.peer.publisher(CompressedImage, "image")
    explained(
        running.peer,
        "/peer publishes sensor_msgs/msg/CompressedImage instead of sensor_msgs/msg/Image",
        "set image_transport",
    )


@pytest.mark.parametrize(
    ("transport", "kind", "topic", "other"),
    [
        ("raw", CompressedImage, "image", "image/compressed"),
        ("compressed", Image, "image/compressed", "image"),
    ],
)
def test_a_camera_of_the_other_transport_is_named_with_the_remedy(
    start: Callable[..., Running], transport: str, kind: type, topic: str, other: str
) -> None:
    running = start(warn_no_image=0.1, image_transport=transport)
    running.peer.publisher(kind, other)
    remedy = f"nobody publishes /{topic}, but /{other} is there: set image_transport"
    explained(running.peer, remedy)


def test_a_camera_that_is_remapped_with_its_transport_is_named(
    start: Callable[..., Running],
) -> None:
    running = start(warn_no_image=0.1, image_transport="compressed")
    running.peer.publisher(CompressedImage, "image")
    explained(running.peer, "nobody publishes /image/compressed; ", "is on /image: remap")


def test_a_topic_that_is_nothing_but_the_transport_is_named(domain_id: int) -> None:
    with closing(RosPeer(domain_id)) as peer:
        subscription = peer.listen(CompressedImage, "/compressed")
        assert explain_silence(peer.node, subscription) == "nobody publishes /compressed"


def test_the_missing_one_of_two_cameras_that_are_swapped_is_named(domain_id: int) -> None:
    swap = ["--ros-args", "-r", "front/image:=/left/image", "-r", "left/image:=/front/image"]
    with closing(RosPeer(domain_id)) as peer:
        node = rclpy.create_node("swapped", context=peer.context, cli_args=swap)
        front, left = (
            node.create_subscription(Image, f"{name}/image", lambda _: None, 1)
            for name in ("front", "left")
        )
        peer.connect(peer.publisher(Image, "/left/image"), others=[front])
        assert explain_silence(node, left) == "nobody publishes /front/image"
        node.destroy_node()


def test_a_subscriber_that_asks_for_more_is_told(
    start: Callable[..., Running], logged: Callable[..., None]
) -> None:
    running = start(output_qos="sensor_data")
    running.peer.listen(Image, "segmentation/mask", RELIABLE)
    logged(
        "a subscriber of segmentation/mask asks for a quality of service",
        "RELIABILITY",
        "set output_qos to system_default",
    )


def test_simulated_time_without_a_clock_is_named(start: Callable[..., Running]) -> None:
    running = start(use_sim_time=True, warn_no_image=0.1)
    explained(running.peer, "use_sim_time is set and nobody publishes /clock")


def test_a_bag_that_starts_again_is_segmented_again(
    start: Callable[..., Running], logged: Callable[..., None]
) -> None:
    running = start(use_sim_time=True)
    peer = running.peer
    clock = peer.publisher(Clock, "/clock")
    image = peer.publisher(Image, "image")
    running.connect(clock, image, peer.listen(Image, "segmentation/mask"))

    def now(seconds: int) -> None:
        clock.publish(Clock(clock=Time(sec=seconds)))
        nanoseconds = seconds * 10**9
        wait_until(lambda: running.node.get_clock().now().nanoseconds == nanoseconds, "the time")

    def segment(number: int, seconds: int) -> Any:
        message = rgb_image(number)
        message.header.stamp = Time(sec=seconds)
        image.publish(message)
        return peer.wait_for_stamp("segmentation/mask", message)

    now(100)
    segment(1, 90)
    assert status(peer, lambda s: s.segmented == 1).latency == 10.0
    now(50)
    logged("time jumped back")
    assert running.node.cameras[0].latencies.percentile(50) != 10.0  # nan: they start again
    segment(2, 49)
    assert status(peer, lambda s: s.segmented == 2).latency == 1.0
    assert running.node.cameras[0].latencies.percentile(95) == 1.0
    assert running.node._state == "active"
    assert peer.set_parameter("use_sim_time", False).successful
    logged("use_sim_time changed: latencies start again")
