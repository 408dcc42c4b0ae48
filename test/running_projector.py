"""A projector node, somebody to talk to it, and the messages that it takes."""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from ros_peer import RosPeer, wait_until
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from camss_ros.nodes.messages import to_image_message
from camss_ros.nodes.projection.node import ProjectorNode
from camss_ros.nodes.qos import PROFILES
from camss_ros.nodes.spinner import Spinner

HEIGHT, WIDTH = 24, 32
FOCAL = 20.0
FRAME = "camera_optical_frame"
IN, OUT = PROFILES["default"], PROFILES["default"]


class RunningProjector:
    """A node that spins, and a peer that publishes its inputs and listens to its outputs."""

    def __init__(self, domain_id: int, **parameters: Any) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        overrides = [rclpy.Parameter(name, value=value) for name, value in parameters.items()]
        self.node = ProjectorNode(context=self._context, parameter_overrides=overrides)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._spinner = Spinner(self._executor, self.node.autostart)
        self.peer = RosPeer(domain_id)
        self._publishers: dict[str, Any] = {}
        self._ends: list[Any] = []

    def listen(self, **topics: type) -> None:
        """Listen to outputs; returns when the node knows it."""
        self._ends += [self.peer.listen(kind, topic, OUT) for topic, kind in topics.items()]
        wait_until(lambda: self.node._state_machine.current_state[1] == "active", "the node active")
        self.reconnect()

    def in_executor(self, call: Callable[[], Any]) -> None:
        """Call something where the node's services are called."""
        future = self._executor.create_task(call)
        wait_until(future.done, "the call")
        future.result()

    def reconnect(self) -> None:
        """Wait until each output that is listened to and the peer know each other."""
        self.peer.connect(*self._ends, others=self.node.publishers)

    def send(self, **messages: Any) -> None:
        """Publish a message on each topic; `__` in a name is `/`."""
        names = {name.replace("__", "/"): message for name, message in messages.items()}
        new = {
            name: self.peer.publisher(type(message), name, IN)
            for name, message in names.items()
            if name not in self._publishers
        }
        self._publishers |= new
        if new:
            self.peer.connect(*new.values(), others=self.node.subscriptions)
        for name, message in names.items():
            self._publishers[name].publish(message)

    def calibrate(self, info: CameraInfo, camera: str = "") -> None:
        """Publish the calibration of the masks; returns when the node has it."""
        (stream,) = (each for each in self.node._streams if each._name == camera)
        topic = f"{camera}/segmentation/camera_info" if camera else "segmentation/camera_info"
        self.send(**{topic: info})
        wait_until(
            lambda: getattr(stream._camera._info, "header", None) == info.header, "the calibration"
        )

    def counts(self, job: str) -> dict[str, int]:
        """What became of the inputs of a job."""
        found = next(each for each in self.node.jobs if each.name == job)
        return dict(self.node.reports.snapshot(found))

    def close(self) -> None:
        self.peer.close()
        self.end()
        rclpy.shutdown(context=self._context)

    def end(self) -> None:
        """End the node; harmless if it has."""
        self.node.cancel()
        self._spinner.end()
        self.node.shut_down()
        self.node.destroy_node()


def header(number: int, frame: str = FRAME, nanosec: int = 0) -> Header:
    return Header(stamp=Time(sec=1_700_000_000 + number, nanosec=nanosec), frame_id=frame)


def calibration(number: int = 0, height: int = HEIGHT, width: int = WIDTH) -> CameraInfo:
    focal = FOCAL * width / WIDTH
    k = [focal, 0.0, (width - 1) / 2, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 1.0]
    return CameraInfo(header=header(number), height=height, width=width, k=k)


def pair(number: int, labels: np.ndarray, confidence: int = 200) -> dict[str, Image]:
    """Mask and confidence, as the segmenter publishes them."""
    sure = np.full(labels.shape, confidence, np.uint8)
    return {
        "segmentation__mask": to_image_message(labels, "mono8", header(number)),
        "segmentation__confidence": to_image_message(sure, "mono8", header(number)),
    }


def depth_image(number: int, metres: np.ndarray, frame: str = FRAME) -> Image:
    height, width = metres.shape
    return Image(
        header=header(number, frame), height=height, width=width, encoding="32FC1",
        step=4 * width, data=array.array("B", metres.astype("<f4").tobytes()),
    )  # fmt: skip


def cloud(number: int, points: Sequence[Sequence[float]], frame: str = "lidar") -> PointCloud2:
    """x, y, z float32 and intensity uint16 of each point."""
    kind = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<u2")])
    values = np.array([(*p, i) for i, p in enumerate(points)], kind)
    fields = [
        PointField(name=name, offset=4 * i, datatype=7 if i < 3 else 4, count=1)
        for i, name in enumerate(kind.names or ())
    ]
    return PointCloud2(
        header=header(number, frame), height=1, width=len(values), fields=fields,
        point_step=kind.itemsize, row_step=values.nbytes, is_dense=True,
        data=array.array("B", values.tobytes()),
    )  # fmt: skip


class StandInTf(ModuleType):
    """In the place of tf2_ros: frames that move at constant speed from one place to the next.

    Names, arguments and exceptions are those of tf2_ros in Humble and Jazzy. `places[frame]`: of a
    child of "odom", two or more (stamp in s, x, y, z, yaw), interpolated between them as TF does
    it, and not known outside of them, but that 0 is the newest. `cleared`: how often. `timeout`: of
    the last question, ns.
    """

    class TransformException(Exception):  # noqa: N818
        pass

    class LookupException(TransformException):
        pass

    class ExtrapolationException(TransformException):
        pass

    class TransformListener:
        def __init__(
            self, buffer: Any, node: Any, *, spin_thread: bool = False, qos: Any = None,
            static_qos: Any = None,
        ) -> None:  # fmt: skip
            assert not spin_thread  # the node is in an executor already

        def unregister(self) -> None:
            pass

    def __init__(self, places: dict[str, list[tuple[float, ...]]]) -> None:
        super().__init__("tf2_ros")
        self.places, self.cleared, self.timeout = places, 0, 0

    def Buffer(self, cache_time: Duration | None = None, node: Any = None) -> Any:  # noqa: N802
        return self

    def clear(self) -> None:
        self.cleared += 1

    def _at(self, frame: str, time: Any) -> np.ndarray:
        if frame == "odom":
            return np.eye(4)
        known = self.places.get(frame)
        if known is None:
            raise self.LookupException(f'"{frame}" passed to lookupTransform does not exist.')
        stamps = [place[0] for place in known]
        seconds = time.nanoseconds / 1e9 - 1_700_000_000 if time.nanoseconds else stamps[-1]
        if not stamps[0] <= seconds <= stamps[-1]:
            raise self.ExtrapolationException("Lookup would require extrapolation into the future.")
        x, y, z, yaw = (np.interp(seconds, stamps, [p[i] for p in known]) for i in (1, 2, 3, 4))
        matrix = np.eye(4)
        matrix[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
        matrix[:3, 3] = x, y, z
        if frame == FRAME:  # its places are those of a body; the lens looks along x
            matrix = matrix @ np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
        return matrix

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Any, timeout: Duration = Duration()
    ) -> Any:
        return self.lookup_transform_full(
            target_frame, time, source_frame, time, "odom", timeout
        )  # fmt: skip

    def lookup_transform_full(
        self, target_frame: str, target_time: Any, source_frame: str, source_time: Any,
        fixed_frame: str, timeout: Duration = Duration(),
    ) -> Any:  # fmt: skip
        self.timeout = timeout.nanoseconds
        assert fixed_frame == "odom"
        target_place = self._at(target_frame, target_time)
        source_place = self._at(source_frame, source_time)
        matrix = np.linalg.inv(target_place) @ source_place
        # Shepperd's method, for rotations of which the trace is not -1.
        w = math.sqrt(max(0.0, 1 + np.trace(matrix[:3, :3]))) / 2
        if w > 1e-6:
            x, y, z = ((matrix[i, j] - matrix[j, i]) / (4 * w) for i, j in ((2, 1), (0, 2), (1, 0)))
        else:
            x, y, z = np.sqrt(np.maximum(0, (np.diag(matrix[:3, :3]) + 1) / 2))
        return SimpleNamespace(
            transform=SimpleNamespace(
                translation=SimpleNamespace(**dict(zip("xyz", matrix[:3, 3], strict=True))),
                rotation=SimpleNamespace(x=x, y=y, z=z, w=w),
            )
        )


@pytest.fixture
def tf(monkeypatch: pytest.MonkeyPatch) -> StandInTf:
    """TF, empty."""
    stand_in = StandInTf({})
    monkeypatch.setitem(sys.modules, "tf2_ros", stand_in)
    return stand_in
