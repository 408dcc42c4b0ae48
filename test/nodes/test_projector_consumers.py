"""The projector's topics read as those who use them do.

Each consumer here does what the sources of the real one do with our messages: nav2's
semantic_segmentation_layer and obstacle layer, Autoware's perception nodes. They are C++ and need a
ROS installation.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from doc_blocks import DOCS, blocks_of
from nav_msgs.msg import OccupancyGrid
from running_projector import (
    HEIGHT,
    WIDTH,
    RunningProjector,
    calibration,
    depth_image,
    header,
    pair,
)
from sensor_msgs.msg import LaserScan, PointCloud2, PointField

from camss_ros.images.label_sets import load_label_set
from camss_ros.nodes.messages import to_array
from camss_ros.nodes.projection.interfaces import PUBLISHED
from camss_ros.projection.ground import OCCUPIED

CAR, ROAD = 13, 0
NAMES = {f"/{endpoint.name}" for endpoint in PUBLISHED}


@pytest.fixture
def running(domain_id: int, request: pytest.FixtureRequest) -> Iterator[RunningProjector]:
    started = RunningProjector(domain_id, **request.param)
    yield started
    started.close()


def received(running: RunningProjector, topic: str) -> Any:
    return running.peer.wait_for(topic, lambda m: m.header.stamp == header(1).stamp)


def field_at(cloud: PointCloud2, name: str, place: int, code: str) -> Any:
    """A field of a point, as sensor_msgs::PointCloud2ConstIterator steps to it."""
    (field,) = (each for each in cloud.fields if each.name == name)
    assert not cloud.is_bigendian
    return struct.unpack_from(code, cloud.data, place * cloud.point_step + field.offset)[0]


@pytest.mark.parametrize("running", [{}], indirect=True)
def test_the_semantic_layer_of_nav2_walks_cloud_and_mask_together(
    running: RunningProjector,
) -> None:
    """SegmentationBuffer::bufferSegmentation: the same index in mask, confidence and cloud."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 19, (HEIGHT, WIDTH), np.uint8)
    metres = rng.uniform(1, 8, labels.shape)
    metres[5, 7] = np.nan
    running.listen(labeled_cloud=PointCloud2)
    running.calibrate(calibration())
    inputs = pair(1, labels)
    running.send(**inputs, depth__image=depth_image(1, metres))
    mask, cloud = inputs["segmentation__mask"], received(running, "labeled_cloud")
    assert cloud.header == mask.header  # TimeSynchronizer, and the transform of both
    assert (cloud.height, cloud.width) == (mask.height, mask.width)
    assert cloud.row_step == cloud.width * cloud.point_step
    for v in range(mask.height):
        for u in range(mask.width):
            pixel = v * mask.width + u
            z = field_at(cloud, "z", pixel, "<f")
            if math.isnan(z):
                assert (v, u) == (5, 7)
                continue
            assert z == pytest.approx(metres[v, u], rel=1e-6)
            assert field_at(cloud, "label", pixel, "B") == mask.data[pixel]


XYZIRC = (("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 2), ("return_type", 13, 2),
          ("channel", 14, 4))  # fmt: skip


@pytest.mark.parametrize(
    "running",
    [{"cloud_from": "lidar", "lidar_to_camera": [0.0] * 6 + [1.0], "drop_classes": ["road"]}],
    indirect=True,
)
def test_autoware_takes_the_filtered_cloud_for_one_of_its_own(running: RunningProjector) -> None:
    """is_data_layout_compatible_with_point_xyzirc looks at the first six fields."""
    labels = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    labels[:, WIDTH // 2 :] = CAR
    points = np.zeros(3, np.dtype({
        "names": [name for name, *_ in XYZIRC],
        "formats": ["<f4", "<f4", "<f4", "u1", "u1", "<u2"],
        "offsets": [offset for _, offset, _ in XYZIRC], "itemsize": 16,
    }))  # fmt: skip
    points["x"], points["z"], points["channel"] = (1, -1, 1), (5, 5, -5), (7, 8, 9)
    message = PointCloud2(
        header=header(1, "base_link"), height=1, width=3, point_step=16, row_step=48,
        fields=[PointField(name=n, offset=o, datatype=d, count=1) for n, o, d in XYZIRC],
        data=to_array(points.tobytes()), is_dense=True,
    )  # fmt: skip
    running.listen(filtered_cloud=PointCloud2)
    running.calibrate(calibration())
    running.send(**pair(1, labels), points=message)
    found = received(running, "filtered_cloud")
    assert [(f.name, f.offset, f.datatype) for f in found.fields[:6]] == list(XYZIRC)
    assert all(field.count == 1 for field in found.fields)
    # The road is gone; what no camera sees stays.
    assert [field_at(found, "channel", i, "<H") for i in range(found.width)] == [7, 9]
    assert [field_at(found, "label", i, "B") for i in range(found.width)] == [CAR, 255]


GROUND = {
    "mount": [1.5, 10.0, 0.0], "grid_area": [0.0, 8.0, -4.0, 4.0], "grid_resolution": 0.25,
    "cloud_from": "none",
}  # fmt: skip


@pytest.mark.parametrize("running", [GROUND], indirect=True)
def test_the_obstacle_layer_of_nav2_marks_where_the_ground_ends(running: RunningProjector) -> None:
    """ObservationBuffer::bufferCloud keeps points by height; ObstacleLayer marks their cells, and
    clears to them. laser_geometry makes points of the scan, of infinity its longest range."""
    labels = np.zeros((480, 640), np.uint8)
    labels[:290, 200:440] = CAR
    foot = 1.5 / math.tan(math.radians(10) + math.atan((289.5 - 239.5) / 400))
    running.listen(
        obstacle_points=PointCloud2, obstacle_scan=LaserScan, drivable_grid=OccupancyGrid
    )
    running.calibrate(calibration(0, 480, 640))
    running.send(**pair(1, labels, 255))
    cloud, scan = received(running, "obstacle_points"), received(running, "obstacle_scan")
    grid = received(running, "drivable_grid")
    marked = set()
    for i in range(cloud.width):
        x, y, z = (field_at(cloud, axis, i, "<f") for axis in "xyz")
        assert 0.0 <= z <= 2.0  # min_obstacle_height, max_obstacle_height
        marked.add((round(x / 0.25), round(y / 0.25)))
    ahead = {(round(foot / 0.25), y) for y in range(-1, 2)}
    assert all(any(abs(x - a) <= 1 and y == b for x, y in marked) for a, b in ahead)
    assert scan.header.frame_id == cloud.header.frame_id == grid.header.frame_id == "base_link"
    assert len(scan.ranges) == round((scan.angle_max - scan.angle_min) / scan.angle_increment) + 1
    cleared, hit = 0, 0
    for i, distance in enumerate(scan.ranges):
        angle = scan.angle_min + i * scan.angle_increment
        if math.isinf(distance):  # inf_is_valid
            distance = scan.range_max - 1e-4
            cleared += 1
        if not scan.range_min <= distance < scan.range_max:  # NaN too
            continue
        if abs(angle) < 0.2:
            assert distance * math.cos(angle) == pytest.approx(foot, abs=0.2)
            hit += 1
    assert hit == 46
    assert cleared > 10
    # What the static layer takes: row-major from (0, 0), 100 lethal, -1 unknown.
    cells = np.array(grid.data, np.int8).reshape(grid.info.height, grid.info.width)
    row = int((0.1 - grid.info.origin.position.y) / grid.info.resolution)
    column = int((foot + 0.3 - grid.info.origin.position.x) / grid.info.resolution)
    assert cells[row, column] == 100
    assert cells[row, column - 4] == 0


def interpreted(value: int, costmap: dict[str, Any]) -> int:
    """nav2's StaticLayer::interpretValue: 254 is lethal, 255 not known."""
    if value == -1:
        return 255 if costmap.get("track_unknown_space", False) else 0
    threshold = costmap.get("lethal_cost_threshold", 100)
    if value >= threshold:
        return 254
    return 0 if costmap.get("trinary_costmap", True) else int(value / threshold * 254)


@pytest.mark.parametrize("running", [GROUND], indirect=True)
def test_the_static_layer_of_nav2_takes_the_grid_with_the_documented_settings(
    running: RunningProjector,
) -> None:
    (costmap,) = (
        block.data["local_costmap"]["local_costmap"]["ros__parameters"]
        for block in blocks_of(DOCS / "integration" / "nav2.md")
        if "StaticLayer" in block.text
    )
    labels = np.zeros((480, 640), np.uint8)
    labels[:290, 200:440] = CAR
    running.listen(drivable_grid=OccupancyGrid)
    running.calibrate(calibration(0, 480, 640))
    running.send(**pair(1, labels, 200))  # of 255
    grid = received(running, "drivable_grid")
    # Volatile, it takes the grid of every DDS and output_qos.
    assert not costmap["static_layer"]["map_subscribe_transient_local"]
    occupied = {value for value in grid.data if value >= OCCUPIED}
    assert occupied
    assert all(interpreted(value, costmap) == 254 for value in occupied)
    assert all(interpreted(value, {}) == 0 for value in occupied)
    assert interpreted(-1, costmap) == 255


@pytest.mark.parametrize("page", ["nav2.md", "autoware.md"])
def test_the_documented_settings_name_topics_and_classes_that_there_are(page: str) -> None:
    blocks = [b for b in blocks_of(DOCS / "integration" / page) if b.language in ("yaml", "sh")]
    words = {
        word.strip("\"',") for block in blocks for word in block.text.replace(":=", " ").split()
    }
    last = {name[1:] for name in NAMES}
    named = {f"/{word.lstrip('/')}" for word in words if word.split("/")[-1] in last}
    assert named
    assert named <= NAMES
    classes = {each.name for each in load_label_set("cityscapes19").classes}
    for block in blocks:
        if block.language == "yaml" and "projector" in block.data:
            values = block.data["projector"]["ros__parameters"]
            for name in ("drop_classes", "keep_classes", "drivable_classes", "flat_classes"):
                assert set(values.get(name, [])) <= classes
