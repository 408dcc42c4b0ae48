"""The other side of a node under test: publishes to it, listens to it, calls its services."""

from __future__ import annotations

import array
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, SetParametersResult
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from camss_ros.nodes.spinner import Spinner

# The profile for large images has 64 MiB for each publisher.
large_images_arrive = pytest.mark.skipif(
    shutil.disk_usage("/dev/shm").free < 2**28,
    reason="less than 256 MiB free in /dev/shm, as in a container without --shm-size",
)
TIMEOUT = 120.0  # s; reached only when something is broken
ANSWER_TIME = 5.0  # s

_STATE = "segmenter/get_state"
GOALS = {
    Transition.TRANSITION_CONFIGURE: "inactive",
    Transition.TRANSITION_ACTIVATE: "active",
    Transition.TRANSITION_DEACTIVATE: "inactive",
    Transition.TRANSITION_CLEANUP: "unconfigured",
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: "finalized",
}


def wait_until(
    condition: Callable[[], Any], what: str | Callable[[], str], timeout: float = TIMEOUT
) -> Any:
    """The first true value of `condition`; `what` tells for what it waited."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout:g} s: {what if isinstance(what, str) else what()}")


def captured_log() -> str:
    """What has been written to stderr, in a test with `capfd`.

    `capfd.readouterr` would lose what other threads write while it reads.
    """
    return os.pread(2, 1 << 24, 0).decode(errors="replace")


def _is_publisher(end: Any) -> bool:
    return hasattr(end, "get_subscription_count")


def rgb_image(number: int, height: int = 32, width: int = 48) -> Image:
    """An image whose stamp tells its number."""
    pixels = np.full((height, width, 3), number % 256, np.uint8)
    image = Image(
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array.array("B", pixels.tobytes()),
    )
    image.header.frame_id = f"camera {number}"
    image.header.stamp.sec = 1_700_000_000 + number
    image.header.stamp.nanosec = 123_456_789
    return image


class RosPeer:
    """A node with its own context and thread in a ROS domain."""

    def __init__(self, domain_id: int, namespace: str = "/") -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = rclpy.create_node("peer", context=self.context, namespace=namespace)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._clients: dict[str, Any] = {}
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self.node)
        self._spinner = Spinner(executor)

    def close(self) -> None:
        self._spinner.end()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def listen(self, kind: type, topic: str, qos: QoSProfile | int = 50) -> Any:
        """Collect the messages of a topic in `received[topic]`."""
        self.received[topic].clear()
        return self.node.create_subscription(kind, topic, self.received[topic].append, qos)

    def publisher(self, kind: type, topic: str, qos: QoSProfile | int = 50) -> Any:
        """A publisher; `connect` waits for its subscriber."""
        return self.node.create_publisher(kind, topic, qos)

    def connect(self, *ends: Any, others: Iterable[Any] = ()) -> None:
        """Wait until publishers have a subscriber and subscriptions a publisher.

        The other side may learn of it later, and messages are lost until then: `others` are
        endpoints of the other node, waited for as well where their topic is among the ends', until
        each knows as many as there are here and there.
        """
        others = list(others)  # rclpy gives generators
        topics = {end.topic_name for end in ends}
        everybody = [*self.node.publishers, *self.node.subscriptions, *others]
        counts: dict[str, dict[bool, int]] = {topic: {True: 0, False: 0} for topic in topics}
        for end in everybody:
            if end.topic_name in topics:
                counts[end.topic_name][_is_publisher(end)] += 1
        for end in (*ends, *(other for other in others if other.topic_name in topics)):
            count = end.get_subscription_count if _is_publisher(end) else end.get_publisher_count
            least = max(1, counts[end.topic_name][not _is_publisher(end)])
            wait_until(
                lambda count=count, least=least: count() >= least,
                f"{least} at {end.topic_name}",
            )

    def wait_for(self, topic: str, condition: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first message of a topic, received or yet to come, that meets a condition."""
        return wait_until(
            lambda: next((m for m in list(self.received[topic]) if condition(m)), None),
            lambda: f"such a message on {topic}; received: {len(self.received[topic])}",
        )

    def wait_for_stamp(self, topic: str, image: Any) -> Any:
        """The message of a topic that has an image's header."""
        return self.wait_for(topic, lambda message: message.header == image.header)

    def _client(self, kind: type, service: str) -> Any:
        """A client that has found its service, or None.

        One that finds none is made anew the next time: Fast DDS says so for ever when it has missed
        the end of one of two endpoints.
        """
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self.node.create_client(kind, service)
        if client.wait_for_service(ANSWER_TIME):
            return client
        self.node.destroy_client(self._clients.pop(service))
        return None

    def _call(self, kind: type, service: str, request: Any) -> Any:
        """Call a service of the segmenter; None if the request or the answer got lost.

        DDS loses them when the server does not know both ends of the client yet.
        """
        client = self._client(kind, service)
        if client is None:
            return None
        future = client.call_async(request)
        end = time.monotonic() + ANSWER_TIME
        while not future.done() and time.monotonic() < end:
            time.sleep(0.01)
        return future.result() if future.done() else None

    def _call_again(self, kind: type, service: str, request: Any) -> Any:
        """Call a service that may be called twice, until an answer comes."""
        return wait_until(lambda: self._call(kind, service, request), f"an answer of {service}")

    def reload_model(self) -> Trigger.Response:
        """Have the segmenter load the model of its parameters, once, however long that takes."""
        name = "segmenter/reload_model"
        client = wait_until(lambda: self._client(Trigger, name), name)
        # Who answers a client that was made later knows both ends of this one.
        if state := self._clients.pop(_STATE, None):
            self.node.destroy_client(state)
        self.state()
        answer = client.call_async(Trigger.Request())
        wait_until(answer.done, f"an answer of {name}")
        return answer.result()

    def state(self) -> str:
        """The segmenter's lifecycle state."""
        answer = self._call_again(GetState, _STATE, GetState.Request())
        return answer.current_state.label

    def transition(self, transition: int) -> bool:
        """Make a lifecycle transition; whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))

        def made() -> tuple[bool] | None:
            answer = self._call(ChangeState, "segmenter/change_state", request)
            if answer is not None:
                return (answer.success,)
            return (True,) if self.state() == GOALS[transition] else None

        return wait_until(made, f"transition {transition}")[0]

    def set_parameter(self, name: str, value: Any) -> SetParametersResult:
        """Set a parameter of the segmenter."""
        parameter: Parameter = rclpy.Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        return self._call_again(SetParameters, "segmenter/set_parameters", request).results[0]

    def get_parameter(self, name: str) -> Any:
        """A parameter of the segmenter."""
        request = GetParameters.Request(names=[name])
        value = self._call_again(GetParameters, "segmenter/get_parameters", request).values[0]
        return rclpy.parameter.parameter_value_to_python(value)
