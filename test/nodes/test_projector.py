"""The projector over DDS: clouds, grid, TF, what nobody hears, and what goes wrong."""

from __future__ import annotations

import array
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.parameter import Parameter
from ros_peer import captured_log, wait_until
from running_projector import (
    FOCAL,
    HEIGHT,
    WIDTH,
    RunningProjector,
    StandInTf,
    calibration,
    cloud,
    depth_image,
    header,
    pair,
    tf,
)
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from camss_ros.images.label_sets import load_label_set
from camss_ros.nodes import managed_node
from camss_ros.nodes.endpoints import ROS_PUBLISHED
from camss_ros.nodes.messages import label_info_type
from camss_ros.nodes.projection.interfaces import PUBLISHED, SUBSCRIBED
from camss_ros.nodes.projection.label_stream import CameraOfTopic
from camss_ros.nodes.projection.node import ProjectorNode
from camss_ros.nodes.projection.parameters import SPECS
from camss_ros.nodes.projection.reports import Reports
from camss_ros.nodes.projection.transforms import Transforms
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.point_cloud import Cloud

__all__ = ["tf"]
ROAD, CAR, VOID = 0, 13, 255
LABELS = np.random.default_rng(5).integers(0, 19, (HEIGHT, WIDTH), np.uint8)
DEPTH = np.random.default_rng(6).uniform(1, 9, (HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture
def project(domain_id: int) -> Iterator[Callable[..., RunningProjector]]:
    """Starts projectors with parameters by keyword."""
    running: list[RunningProjector] = []

    def start(**parameters: Any) -> RunningProjector:
        running.append(RunningProjector(domain_id, **parameters))
        return running[-1]

    yield start
    for each in running:
        each.close()


def received(running: RunningProjector, topic: str, number: int) -> Any:
    stamp = header(number).stamp
    return running.peer.wait_for(topic, lambda message: message.header.stamp == stamp)


def test_a_mask_with_depth_becomes_an_organised_cloud(
    project: Callable[..., RunningProjector],
) -> None:
    running = project(drop_classes=["road", "car"])
    running.listen(labeled_cloud=PointCloud2, filtered_cloud=PointCloud2)
    depth = DEPTH.copy()
    depth[3, 4] = np.nan
    running.calibrate(calibration())
    running.send(**pair(1, LABELS), depth__image=depth_image(1, depth))
    message = received(running, "labeled_cloud", 1)
    assert (message.height, message.width, message.header.frame_id) == (
        HEIGHT, WIDTH, "camera_optical_frame",
    )  # fmt: skip
    found = Cloud.from_message(message)
    assert [field.name for field in found.fields] == ["x", "y", "z", "rgb", "label", "confidence"]
    np.testing.assert_array_equal(found.values("label"), LABELS)
    assert (found.values("confidence") == 200).all()
    np.testing.assert_array_equal(found.values("z"), depth)
    column = (np.arange(WIDTH) - 15.5) / FOCAL
    np.testing.assert_allclose(found.values("x"), column * depth, rtol=1e-5)
    assert not message.is_dense
    filtered = Cloud.from_message(received(running, "filtered_cloud", 1))
    kept = ~np.isin(LABELS, [ROAD, CAR]) & ~np.isnan(depth)
    np.testing.assert_array_equal(filtered.values("label")[0], LABELS[kept])
    # Another size of mask, other points in the same message: dense, once it is asked for.
    changed = Parameter("organized_cloud", value=False)
    assert running.node.set_parameters_atomically([changed]).successful
    running.calibrate(calibration(2, 2 * HEIGHT, 2 * WIDTH))
    running.send(depth__camera_info=calibration(2))
    job: Any = next(job for job in running.node.jobs if job.name == CLOUD_JOB)
    wait_until(lambda: job._camera.is_known, "the calibration of the depth camera")
    large = np.kron(LABELS, np.ones((2, 2), np.uint8))
    running.send(**pair(2, large), depth__image=depth_image(2, depth))
    dense = received(running, "labeled_cloud", 2)
    assert (dense.height, dense.is_dense) == (1, True)
    assert 0.9 * large.size < dense.width < large.size
    # A camera that zooms, with a depth camera that does not.
    zoomed = calibration(3, *large.shape)
    zoomed.k[0] *= 2
    running.calibrate(zoomed)
    running.send(**pair(3, large), depth__image=depth_image(3, DEPTH))
    points = Cloud.from_message(received(running, "labeled_cloud", 3))
    slopes = points.values("x") / points.values("z")
    assert np.abs(slopes).max() == pytest.approx((WIDTH - 0.5) / zoomed.k[0])


def test_points_of_a_lidar_get_the_surest_label_of_the_cameras(
    project: Callable[..., RunningProjector],
) -> None:
    """Two cameras at the lidar's place; the points are given in the cameras' own axes."""
    running = project(
        cloud_from="lidar",
        cameras=["front", "left"],
        lidar_to_camera=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0] * 2,
        keep_classes=["car"],
    )
    running.listen(labeled_cloud=PointCloud2, filtered_cloud=PointCloud2)
    road, car = (np.full((HEIGHT, WIDTH), label, np.uint8) for label in (ROAD, CAR))
    car[:, : WIDTH // 2] = VOID
    for camera in ("front", "left"):
        running.calibrate(calibration(), camera)
    masks = {f"front__{name}": message for name, message in pair(1, road, 100).items()}
    masks |= {f"left__{name}": message for name, message in pair(1, car, 150).items()}
    points = [(1.0, 0, 5), (-1, 0, 5), (0, 0, -5), (9, 0, 1)]
    running.send(**masks, points=cloud(1, points))
    found = Cloud.from_message(received(running, "labeled_cloud", 1))
    assert found.values("label")[0].tolist() == [CAR, ROAD, VOID, VOID]
    assert found.values("confidence")[0].tolist() == [150, 100, 0, 0]
    assert found.values("intensity")[0].tolist() == [0, 1, 2, 3]
    filtered = Cloud.from_message(received(running, "filtered_cloud", 1))
    assert filtered.values("intensity")[0].tolist() == [0]
    # A camera that is silent does not keep the others from it.
    masks = {f"front__{name}": message for name, message in pair(2, road, 100).items()}
    running.send(**masks, points=cloud(2, points))
    running.send(points=cloud(3, points))
    found = Cloud.from_message(received(running, "labeled_cloud", 2))
    assert found.values("label")[0].tolist() == [ROAD, ROAD, VOID, VOID]


def test_tf_is_asked_at_the_stamps_of_cloud_and_mask(
    project: Callable[..., RunningProjector], tf: StandInTf
) -> None:
    """The vehicle moves 10 m a second to the left. Cloud at 1.000 s, mask at 1.015 s, so that a
    point 5 m ahead has moved by 0.15 m to the right in the camera: 0.6 pixels."""
    tf.places = {
        "lidar": [(0, 0, 0, 0, 0), (2, 0, 20, 0, 0)],
        "camera_optical_frame": [(0, 0, 0, 0, 0), (2, 0, 20, 0, 0)],
    }
    stripes = np.tile(np.arange(WIDTH, dtype=np.uint8) % 19, (HEIGHT, 1))
    running = project(cloud_from="lidar", fixed_frame="odom", tf_timeout=0.3)
    running.listen(labeled_cloud=PointCloud2)
    running.calibrate(calibration())

    def label(number: int) -> int:
        masks = pair(1, stripes)
        for message in masks.values():
            message.header.stamp.nanosec = 15_000_000
        moved = cloud(1, [(5.0, 0.0, 0.0)])
        moved.header.stamp.nanosec = number
        running.send(**masks, points=moved)
        wait_for = lambda message: message.header.stamp.nanosec == number  # noqa: E731
        found = Cloud.from_message(running.peer.wait_for("labeled_cloud", wait_for))
        return int(found.values("label")[0, 0])

    # Column 15.5 without motion, 16.1 with it.
    assert label(0) == 16
    assert tf.timeout == 3 * 10**8
    tf.places["lidar"] = tf.places["camera_optical_frame"] = [(0, 0, 0, 0, 0), (2, 0, -20, 0, 0)]
    assert label(1) == 15
    tf.places = {}
    running.send(**pair(2, stripes), points=cloud(2, [(5.0, 0.0, 0.0)]))
    rejected = lambda: running.counts("labeled_cloud").get("rejected: transform", 0)  # noqa: E731
    wait_until(lambda: rejected() == 1, "TF missing")
    for last in (2.5, 9.0):  # late at first
        still = [(0, 0, 0, 0, 0), (last, 0, 0, 0, 0)]
        tf.places = {"lidar": still, "camera_optical_frame": still}
        number = 3 if last < 3 else 4
        running.send(**pair(number, stripes), points=cloud(number, [(5.0, 0.0, 0.0)]))
        wait_until(lambda: rejected() == 2, "TF late")
    received(running, "labeled_cloud", 4)


def test_without_tf_what_asks_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    node: Any = None
    with pytest.raises(ProjectionRejectedError, match="not installed; give mount or lidar_to_c"):
        Transforms(node).lookup(("base_link", Time()), ("camera", Time()))


@pytest.mark.parametrize(
    "sent", [[(60, 0), (61, 0), (3, 1), (4, 1)], [(60, 0), (-1_700_000_000, 0), (61, 0)]]
)
def test_tf_begins_again_with_a_bag_but_not_with_a_camera_without_stamps(
    project: Callable[..., RunningProjector], tf: StandInTf, sent: list[tuple[int, int]]
) -> None:
    """TF itself would refuse all that is older than what it knows of the first time. Of a stamp of
    zero it takes its newest; what it knows is for the others."""
    still = [(0, 0, 0, 0, 0), (99, 0, 0, 0, 0)]
    tf.places = {"lidar": still, "camera_optical_frame": still}
    running = project(cloud_from="lidar")
    running.listen(labeled_cloud=PointCloud2)
    running.calibrate(calibration())
    for number, cleared in sent:
        running.send(**pair(number, LABELS), points=cloud(number, [(5.0, 0.0, 0.0)]))
        received(running, "labeled_cloud", number)
        assert tf.cleared == cleared


def ground_view(running: RunningProjector, number: int, labels: np.ndarray) -> None:
    running.calibrate(calibration(number, *labels.shape))
    running.send(**pair(number, labels, 255))


def test_a_mask_becomes_drivable_ground(project: Callable[..., RunningProjector]) -> None:
    running = project(
        mount=[1.5, 10.0, 0.0], grid_area=[0.0, 6.0, -3.0, 3.0], grid_resolution=0.5,
        vehicle_frame="below_camera", cloud_from="none",
    )  # fmt: skip
    running.listen(
        drivable_grid=OccupancyGrid, obstacle_points=PointCloud2, obstacle_scan=LaserScan
    )
    labels = np.zeros((120, 160), np.uint8)
    labels[:50] = CAR  # from 3.9 m on: 10 + atan(-9.5 / 100) degrees down at its foot
    ground_view(running, 1, labels)
    grid = received(running, "drivable_grid", 1)
    assert (grid.header.frame_id, grid.info.width, grid.info.height) == ("below_camera", 12, 12)
    assert grid.info.resolution == pytest.approx(0.5)
    assert (grid.info.origin.position.x, grid.info.origin.position.y) == (0.0, -3.0)
    cells = np.array(grid.data, np.int8).reshape(12, 12)
    foot = 1.5 / math.tan(math.radians(10) - math.atan(9.5 / 100))
    assert foot == pytest.approx(18.6, abs=0.5)
    assert set(cells.reshape(-1).tolist()) == {-1, 0}
    labels[:70] = CAR  # 1.5 / tan(10 + atan(10.5 / 100))
    ground_view(running, 2, labels)
    cells = np.array(received(running, "drivable_grid", 2).data, np.int8).reshape(12, 12)
    foot = 1.5 / math.tan(math.radians(10) + math.atan(10.5 / 100))
    assert foot == pytest.approx(5.3, abs=0.1)
    assert cells[5, [9, 11]].tolist() == [0, 100]
    scan = received(running, "obstacle_scan", 2)
    ends = (scan.angle_min, scan.angle_max)
    assert ends == pytest.approx((-math.pi, math.pi), abs=scan.angle_increment)
    ahead = round((0 - scan.angle_min) / scan.angle_increment)
    assert scan.ranges[ahead] == pytest.approx(foot, abs=0.15)
    assert math.isnan(scan.ranges[0])
    points = Cloud.from_message(received(running, "obstacle_points", 2))
    np.testing.assert_allclose(points.values("x"), foot, atol=0.25)
    assert set(points.values("label")[0].tolist()) == {CAR}
    refused = running.node.set_parameters_atomically([Parameter("mount", value=[-1.0, 0.0, 0.0])])
    assert "must be height" in refused.reason
    running.node.set_parameters_atomically([Parameter("mount", value=[1.5, 20.0, 0.0])])
    ground_view(running, 3, labels)
    foot = 1.5 / math.tan(math.radians(20) + math.atan(10.5 / 100))
    assert foot == pytest.approx(3.1, abs=0.1)
    assert received(running, "obstacle_scan", 3).ranges[ahead] == pytest.approx(foot, abs=0.15)


def test_the_own_vehicle_is_where_an_image_of_any_size_says(
    project: Callable[..., RunningProjector], tmp_path: Path
) -> None:
    ego = np.zeros((240, 320, 3), np.uint8)
    ego[160:] = 255  # from row 80 of the mask on: nearer than 4 m
    cv2.imwrite(str(tmp_path / "ego.png"), ego)
    running = project(
        mount=[1.5, 10.0, 0.0], grid_area=[-1.0, 5.0, -3.0, 3.0], grid_resolution=0.5,
        ego_mask=str(tmp_path / "ego.png"), cloud_from="none",
    )  # fmt: skip
    running.listen(drivable_grid=OccupancyGrid)
    ground_view(running, 1, np.zeros((120, 160), np.uint8))
    grid = received(running, "drivable_grid", 1)
    known = np.array(grid.data, np.int8).reshape(12, 12)[6] >= 0
    nearest = grid.info.origin.position.x + 0.5 * np.flatnonzero(known)[0]
    assert nearest == pytest.approx(4.0, abs=0.5)


def test_the_mount_comes_from_tf_and_the_memory_from_odometry(
    project: Callable[..., RunningProjector], tf: StandInTf
) -> None:
    tf.places = {
        "base_link": [(0, 0, 0, 0, 0), (19, 0, 0, 0, 0)],
        "camera_optical_frame": [(0, 0.5, 0, 1.5, 0), (19, 0.5, 0, 1.5, 0)],
    }
    running = project(
        grid_area=[0.0, 6.0, -3.0, 3.0], grid_resolution=0.5, cloud_from="none", grid_memory=True
    )
    running.listen(drivable_grid=OccupancyGrid, obstacle_scan=LaserScan)

    def move(number: int, fraction: float, x: float, known: int) -> None:
        place = Odometry(header=header(number, "odom", round(1e9 * fraction)))
        place.pose.pose.position.x = x
        place.pose.pose.orientation.w = 1.0
        running.send(odometry=place)
        track = running.node.jobs[0]._track  # type: ignore[attr-defined]
        wait_until(lambda: len(track._stamps) == known, "the place")

    def grid_of(number: int, labels: np.ndarray) -> np.ndarray:
        ground_view(running, number, labels)
        grid = received(running, "drivable_grid", number)
        return np.array(grid.data, np.int8).reshape(12, 12)

    road = np.zeros((120, 160), np.uint8)
    nothing = np.full_like(road, VOID)
    ground_view(running, 11, road)
    wait_until(lambda: running.counts("drivable_grid").get("rejected: odometry"), "no odometry")
    assert np.isinf(received(running, "obstacle_scan", 11).ranges).any(), "which needs none"
    move(11, 0.7, 0.7, known=1)
    move(12, 0.3, 1.3, known=2)
    first = grid_of(12, road)  # at x = 1
    move(13, 0.0, 2.0, known=3)
    second = grid_of(13, nothing)  # one metre further
    assert (first == 10).any()
    assert tf.timeout == 10**8
    np.testing.assert_array_equal(second[:, :-2], first[:, 2:])
    move(2, 0.0, 2.0, known=1)  # a bag that begins again
    assert (grid_of(2, nothing) == -1).all()


def test_a_mount_is_not_that_of_several_cameras_while_they_run_either(
    project: Callable[..., RunningProjector],
) -> None:
    running = project(cameras=["a", "b"], cloud_from="none")
    running.listen(**{"a/drivable_grid": OccupancyGrid})
    mount = Parameter("mount", value=[1.5, 0.0, 0.0])
    running.in_executor(lambda: running.node.set_parameters([mount]))
    labels = np.zeros((120, 160), np.uint8)
    running.calibrate(calibration(1, *labels.shape), "a")
    running.send(**{f"a/{topic}": image for topic, image in pair(1, labels, 255).items()})
    job = "drivable_grid of a"
    wait_until(lambda: {*running.counts(job)} - {"sets"}, "the mask looked at")
    assert running.counts(job) == {"sets": 1, "rejected: mount": 1}


def test_nothing_is_computed_that_nobody_hears(project: Callable[..., RunningProjector]) -> None:
    running = project(mount=[1.5, 0.0, 0.0])
    running.listen(drivable_grid=OccupancyGrid)
    bad = Image(header=header(1), encoding="rgb8")
    running.calibrate(calibration())
    running.send(depth__image=bad)
    running.send(**pair(1, LABELS), depth__image=depth_image(1, DEPTH))
    wait_until(lambda: running.counts("drivable_grid").get("rejected: mount"), "the mask looked at")
    assert running.counts("labeled_cloud") == {}


@pytest.mark.parametrize(
    "parameters", [{}, {"cloud_from": "lidar", "grid_memory": True}, {"cloud_from": "none"}]
)
def test_a_running_node_has_the_topics_and_parameters_that_are_described(
    project: Callable[..., RunningProjector], parameters: dict[str, Any]
) -> None:
    running = project(**parameters)
    running.listen()
    node = running.node
    values = {spec.name: spec.default for spec in SPECS} | parameters
    for found, endpoints in (
        (node.get_subscriber_names_and_types_by_node("projector", "/"), SUBSCRIBED),
        (
            node.get_publisher_names_and_types_by_node("projector", "/"),
            (*PUBLISHED, *ROS_PUBLISHED),
        ),
    ):
        assert dict(found) == {
            each.resolved("projector"): [each.type]
            for each in endpoints
            if each.needs != "vision_msgs" or label_info_type() is not None
            if each.only_with is None or str(values[each.only_with[0]]).lower() in each.only_with[1]
        }
    own = set(node._parameters) - {"use_sim_time", "start_type_description_service"}
    assert own == {spec.name for spec in SPECS}


def test_cleanup_leaves_nothing_and_the_node_can_go_on(
    project: Callable[..., RunningProjector],
) -> None:
    running = project()
    node = running.node
    running.listen(labeled_cloud=PointCloud2)
    endpoints = (len(list(node.publishers)), len(list(node.subscriptions)))
    for _ in range(3):
        running.in_executor(node.trigger_deactivate)
        refused = node.set_parameters_atomically([Parameter("label_set", value="camvid11")])
        assert "only while the node is unconfigured" in refused.reason
        running.in_executor(node.trigger_cleanup)
        assert list(node.subscriptions) == []
        changed = Parameter("drop_classes", value=["road"])
        assert node.set_parameters_atomically([changed]).successful
        running.in_executor(node.trigger_configure)
        running.in_executor(node.trigger_activate)
    assert (len(list(node.publishers)), len(list(node.subscriptions))) == endpoints
    running.reconnect()
    running.calibrate(calibration())
    running.send(**pair(1, LABELS), depth__image=depth_image(1, DEPTH))
    received(running, "labeled_cloud", 1)


def test_a_set_that_is_given_up_is_counted_once(
    project: Callable[..., RunningProjector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that waits for TF while the node is deactivated."""
    monkeypatch.setattr(managed_node, "CANCEL_TIME", 0.01)
    running = project(cloud_from="none")
    node = running.node
    wait_until(lambda: node._worker is not None, "the node active")
    (job,), worker = node.jobs, node._worker
    begun, go = threading.Event(), threading.Event()

    def process(_: str) -> None:
        begun.set()
        assert go.wait(60)

    monkeypatch.setattr(job, "process", process)
    running.in_executor(lambda: node._submit(job, "a set"))
    assert begun.wait(60)
    running.in_executor(node.trigger_deactivate)
    go.set()
    assert worker is not None
    assert worker.join(60)
    assert running.counts(job.name) == {"sets": 1, "dropped": 1}


def test_a_node_that_is_destroyed_leaves_the_graph(
    project: Callable[..., RunningProjector],
) -> None:
    running = project()
    running.listen(labeled_cloud=PointCloud2)
    names = running.peer.node.get_node_names
    wait_until(lambda: "projector" in names(), "the node in the graph")
    running.end()
    wait_until(lambda: "projector" not in names(), "the node gone")


CLOUD_JOB = "labeled_cloud"


def other(message: Any, **changed: Any) -> Any:
    for name, value in changed.items():
        setattr(message, name, value)
    return message


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "depth of another size": ("depth size", {"depth__image": depth_image(1, DEPTH[:5])}),
    "depth of another frame": ("frame", {"depth__image": depth_image(1, DEPTH, "depth_frame")}),
    "depth of colours": ("depth", {"depth__image": other(depth_image(1, DEPTH), encoding="rgb8")}),
    "depth cut off": ("depth", {"depth__image": other(depth_image(1, DEPTH), height=99)}),
    "K all zero": (
        "calibration", {"segmentation__camera_info": CameraInfo(height=HEIGHT, width=WIDTH)},
    ),
    "K not a number": (
        "calibration", {"segmentation__camera_info": other(calibration(), k=[math.nan] * 9)},
    ),
    "mask as runs": (
        "data", {"segmentation__mask": other(pair(1, LABELS)["segmentation__mask"],
                                             data=array.array("B", bytes(10)))},
    ),
    "confidence of another size": (
        "size", {"segmentation__confidence": pair(1, LABELS[:9])["segmentation__confidence"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unusable_input_is_counted_and_the_next_one_is_projected(
    project: Callable[..., RunningProjector], fault: str
) -> None:
    reason, faulty = FAULTS[fault]
    running = project()
    running.listen(labeled_cloud=PointCloud2)
    good = {"segmentation__camera_info": calibration()} | pair(1, LABELS)
    good["depth__image"] = depth_image(1, DEPTH)
    inputs = good | faulty
    running.calibrate(inputs.pop("segmentation__camera_info"))
    running.send(**inputs)
    wait_until(lambda: running.counts(CLOUD_JOB).get(f"rejected: {reason}"), reason)
    running.calibrate(calibration(2))
    running.send(**pair(2, LABELS), depth__image=depth_image(2, DEPTH))
    received(running, "labeled_cloud", 2)


@pytest.mark.usefixtures("capfd")
def test_masks_in_the_classes_of_another_model_are_refused(
    project: Callable[..., RunningProjector],
) -> None:
    """Its obstacles may have the number of a road here."""
    running = project(
        cloud_from="none", mount=[1.5, 10.0, 0.0], label_set="camvid11", flat_classes=["pavement"]
    )
    running.listen(obstacle_points=PointCloud2)
    road = np.full((120, 160), 3, np.uint8)
    road[0] = VOID
    ground_view(running, 1, road)
    received(running, "obstacle_points", 1)
    ground_view(running, 2, np.full_like(road, CAR))
    wait_until(lambda: running.counts("drivable_grid").get("rejected: classes") == 1, "the ids")
    said = "segmentation/mask has class 13, not of label set camvid11: set label_set to theirs"
    wait_until(lambda: said in captured_log(), "the log")

    def name(*names: str) -> None:
        classes = [SimpleNamespace(class_id=i, class_name=it) for i, it in enumerate(names)]
        info = SimpleNamespace(class_map=[*classes, SimpleNamespace(class_id=255, class_name="?")])
        running.in_executor(lambda: running.node._streams[0]._on_label_info(info))

    name("obstacle", "road")
    ground_view(running, 3, road)
    wait_until(lambda: running.counts("drivable_grid")["rejected: classes"] == 2, "the names")
    name(*(each.name for each in load_label_set("camvid11").classes))
    ground_view(running, 4, road)
    received(running, "obstacle_points", 4)


@pytest.mark.usefixtures("capfd")
def test_a_calibration_that_does_not_come_is_told_with_the_remedy(
    project: Callable[..., RunningProjector],
) -> None:
    running = project(cloud_from="none", mount=[1.0, 0.0, 0.0])
    running.listen(drivable_grid=OccupancyGrid)
    for number in (1, 2):  # the first waits for it
        running.send(**pair(number, LABELS))
    said = "nothing has come on segmentation/camera_info yet", "remap its camera_info"
    wait_until(lambda: all(text in captured_log() for text in said), "the log", 10)


def test_the_newest_calibration_holds() -> None:
    camera = CameraOfTopic("camera_info", rectified=False)
    camera.set(calibration(1))
    first = camera.model(HEIGHT // 2, WIDTH)
    camera.set(calibration(2))
    assert camera.model(HEIGHT // 2, WIDTH) is first  # nothing has changed
    zoomed = calibration(3)
    zoomed.k[0] *= 2
    camera.set(zoomed)
    assert camera.model(HEIGHT // 2, WIDTH).fx == 2 * first.fx
    assert camera.model(HEIGHT, WIDTH).fy == 2 * first.fy


@pytest.mark.parametrize("topic", ["depth/camera_info", "segmentation/camera_info"])
def test_a_calibration_that_cannot_be_used_is_named_by_its_topic(
    project: Callable[..., RunningProjector], capfd: pytest.CaptureFixture[str], topic: str
) -> None:
    running = project()
    running.listen(labeled_cloud=PointCloud2)
    running.calibrate(calibration())
    bad = CameraInfo(height=HEIGHT, width=WIDTH)
    if topic.startswith("depth"):
        running.send(**{topic: bad})
        wait_until(lambda: running.node.jobs[0]._camera.is_known, "the calibration")
    else:
        running.calibrate(bad)
    running.send(**pair(1, LABELS), depth__image=depth_image(1, DEPTH))
    said = f"{CLOUD_JOB}: {topic}: K of camera_info has"
    wait_until(lambda: said in captured_log(), said, 10)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([], ""),
        ([(math.nan, math.inf, -math.inf)], ""),
        ([(1.0, 1.0, 5.0)], "cloud"),
    ],
)
def test_a_cloud_may_be_empty_or_not_a_number_and_is_refused_when_cut_off(
    project: Callable[..., RunningProjector], points: list, reason: str
) -> None:
    running = project(cloud_from="lidar", lidar_to_camera=[0.0] * 6 + [1.0])
    running.listen(labeled_cloud=PointCloud2)
    message = cloud(1, points)
    if reason:
        message.data = message.data[:-1]
    running.calibrate(calibration())
    running.send(**pair(1, LABELS), points=message)
    if reason:
        wait_until(lambda: running.counts(CLOUD_JOB).get(f"rejected: {reason}"), reason)
        return
    found = Cloud.from_message(received(running, "labeled_cloud", 1))
    assert found.values("label")[0].tolist() == [VOID] * len(points)


def test_diagnostics_say_what_is_wrong(
    project: Callable[..., RunningProjector], capfd: pytest.CaptureFixture[str]
) -> None:
    running = project(warn_no_input=0.2)
    running.listen(labeled_cloud=PointCloud2)
    running.peer.listen(DiagnosticArray, "/diagnostics")

    def said(text: str) -> DiagnosticArray:
        return running.peer.wait_for(
            "/diagnostics", lambda m: any(status.message.endswith(text) for status in m.status)
        )

    nothing = "nothing comes on /depth/image, /segmentation/mask, /segmentation/confidence"
    assert {status.name: status.level for status in said(f"s: {nothing}").status} == {
        "/projector: labeled_cloud": b"\x01", "/projector: drivable_grid": b"\x00",
    }  # fmt: skip
    wait_until(lambda: nothing in captured_log(), "the log")
    running.send(**pair(1, LABELS))
    said("s: nothing comes on /depth/image")
    running.send(depth__image=depth_image(2, DEPTH))
    said("s: their stamps do not fit each other, or do not grow")
    running.calibrate(calibration(3))
    cut_off = other(depth_image(3, DEPTH), height=99)
    running.send(**pair(3, LABELS), depth__image=cut_off)
    wait_until(lambda: running.counts(CLOUD_JOB).get("rejected: depth"), "a rejection")
    running.send(**pair(4, LABELS), depth__image=depth_image(4, DEPTH))
    received(running, "labeled_cloud", 4)
    running.peer.received["/diagnostics"].clear()
    running.send(**pair(5, LABELS))
    running.send(depth__image=depth_image(6, DEPTH))
    # which no rejection before the last set explains
    said("s: their stamps do not fit each other, or do not grow")


def test_diagnostics_tell_of_what_was_rejected_since_the_last_ones() -> None:
    published: list[DiagnosticArray] = []
    now = SimpleNamespace(to_msg=Time)
    node: Any = SimpleNamespace(
        create_publisher=lambda *_: SimpleNamespace(publish=published.append),
        get_clock=lambda: SimpleNamespace(now=lambda: now),
        get_fully_qualified_name=lambda: "/projector",
    )
    outputs = SimpleNamespace(is_heard=lambda: True)
    job: Any = SimpleNamespace(name=CLOUD_JOB, outputs=outputs, sources=[])
    reports = Reports(node, lambda *_: None)

    def told() -> tuple[bytes, str]:
        reports.publish("active", [job], 0.0, "")
        (status,) = published[-1].status
        return status.level, status.message

    for what in ("sets", "projected", "dropped"):
        reports.count(job, what)
    assert told() == (b"\x00", "active")
    for _ in range(2):
        reports.reject(job, "size", "the confidence is of other pixels")
    reports.fail(job, ArithmeticError("a mistake"))
    assert told() == (b"\x01", "1 inputs failed; 2 inputs rejected for their size")
    assert told() == (b"\x00", "active")


def test_time_without_a_listener_is_no_time_without_inputs(
    project: Callable[..., RunningProjector],
) -> None:
    running = project(warn_no_input=2.5)
    running.peer.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: len(running.peer.received["/diagnostics"]) >= 4, "three seconds")
    running.listen(labeled_cloud=PointCloud2)
    heard = running.peer.wait_for(
        "/diagnostics", lambda m: m.status[0].values[1].value == str(True)
    )
    assert heard.status[0].message == "active"


@pytest.mark.usefixtures("capfd")
@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"drivable_classes": ["raod"]}, "'raod' is no class"),
        ({"label_set": "nowhere"}, "nowhere"),
        ({"ego_mask": "/nowhere.png"}, "ego_mask: '/nowhere.png' is not there"),
        ({"cameras": ["a", "b"], "mount": [1.0, 0.0, 0.0]}, "mount is that of one camera"),
        (
            {"grid_area": [-99.0, 99.0, -1000.0, 1000.0], "grid_resolution": 0.02},
            "grid_area [-99.0, 99.0, -1000.0, 1000.0] in cells of grid_resolution 0.02 m has "
            "100000 x 9900 of them: expected at most 10,000,000 cells",
        ),
        (
            {"cloud_from": "lidar", "cameras": ["a", "b"], "lidar_to_camera": [1.0] * 7},
            "1 transforms for 2 cameras",
        ),
    ],
)
def test_what_cannot_be_is_said_and_the_node_can_be_configured_again(
    domain_id: int, parameters: dict, said: str
) -> None:
    running = RunningProjector(domain_id, **parameters)
    try:
        wait_until(lambda: said in captured_log(), said)
        state = running.node._state_machine.current_state[0]
        assert state == State.PRIMARY_STATE_UNCONFIGURED
        assert running.node.jobs == []
        running.peer.listen(DiagnosticArray, "/diagnostics")
        status = running.peer.wait_for("/diagnostics").status[0]
        assert (status.level, said in status.message) == (b"\x02", True)
    finally:
        running.close()


def test_a_list_without_elements_names_no_class(
    project: Callable[..., RunningProjector],
) -> None:
    """None is what `drop_classes: []` in a parameter file becomes: it has no type."""
    node = project(drop_classes=None, keep_classes=None, flat_classes=None).node
    wait_until(lambda: node._state_machine.current_state[1] == "active", "the node active")
    classes = node.parameters.classes()
    assert classes.kept.all()
    assert classes.ground.flat == ()


@pytest.mark.usefixtures("capfd")
@pytest.mark.parametrize(
    ("method", "topic", "said"),
    [
        ("create_lifecycle_publisher", "obstacle_scan", "cannot configure: no such topic"),
        ("create_subscription", "segmentation/confidence", "cannot activate: no such topic"),
    ],
)
def test_a_topic_that_cannot_be_made_leaves_none_of_those_before(
    project: Callable[..., RunningProjector],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    topic: str,
    said: str,
) -> None:
    make = getattr(ProjectorNode, method)

    def refuse(node: Any, kind: type, name: str, *arguments: Any, **options: Any) -> Any:
        if name == topic:  # as where it has another type already
            raise RuntimeError("no such topic")
        return make(node, kind, name, *arguments, **options)

    monkeypatch.setattr(ProjectorNode, method, refuse)
    node = project().node
    wait_until(lambda: said in captured_log(), said)
    wait_until(lambda: node._state_machine.current_state[1] == "unconfigured", "the end of it")
    left = {end.topic_name for end in (*node.publishers, *node.subscriptions)}
    assert left == {"/diagnostics", "/parameter_events"}
