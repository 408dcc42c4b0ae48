"""The outputs taken off the topics as those who use them do.

Each consumer here does what the sources of the real one do with our messages: the costmap layer
semantic_segmentation_layer of nav2, nvblox_ros, Autoware's segmentation_pointcloud_fusion. They are
C++ and need a ROS installation. message_filters is written again for the same reason.
"""

from __future__ import annotations

import array
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scripted_node
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from doc_blocks import DOCS, blocks_of
from lifecycle_msgs.msg import Transition
from rclpy.qos import qos_profile_sensor_data
from ros_peer import RosPeer, rgb_image, wait_until
from run_length_decoder import run_length_decoder
from scripted_node import Running, ScriptedSegmenter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import DEFAULT_MODEL
from camss_ros.model.checkpoint import find_config
from camss_ros.nodes.qos import LATCHED
from camss_ros.nodes.segmenter import outputs

HEIGHT, WIDTH = 6, 8
QUEUE = 10
CLASSES = find_config(DEFAULT_MODEL).label_set


class PaintedSegmenter(ScriptedSegmenter):
    """The label of a pixel is its red value, so that no two places are taken for each other."""

    def segment(self, image: np.ndarray, output_size: Any = None, **options: Any) -> Any:
        result = super().segment(image, output_size, **options)
        height, width = result.labels.shape
        labels = cv2.resize(image[..., 0], (width, height), interpolation=cv2.INTER_NEAREST)
        return replace(result, labels=labels, confidence=255 - labels)


@pytest.fixture(autouse=True)
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted_node, "ScriptedSegmenter", PaintedSegmenter)
    monkeypatch.setattr(scripted_node, "CLASSES", CLASSES)


@pytest.fixture
def label_info(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class names over DDS in a message there is a wheel for.

    vision_msgs has none; that the real message has every name is in test_label_info.py. Topic,
    durability and moment are the node's own.
    """

    def message(classes: Sequence[Any], header: Any, threshold: float) -> DiagnosticStatus:
        return DiagnosticStatus(values=[KeyValue(key=c.name, value=str(c.id)) for c in classes])

    monkeypatch.setattr(outputs, "label_info_type", lambda: DiagnosticStatus)
    monkeypatch.setattr(outputs, "label_info_message", message)


class ExactTime:
    """Sets of messages of one stamp, as message_filters.TimeSynchronizer forms them.

    A stamp counts in seconds and nanoseconds. Each topic keeps the newest `QUEUE` messages.
    """

    def __init__(self, peer: RosPeer, topics: dict[str, type], qos: Any) -> None:
        self.sets: list[dict[str, Any]] = []
        self._queues: dict[str, dict[tuple[int, int], Any]] = {topic: {} for topic in topics}
        self.ends = [
            peer.node.create_subscription(kind, topic, self._taker(topic), qos)
            for topic, kind in topics.items()
        ]

    def _taker(self, topic: str) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            queue = self._queues[topic]
            stamp = message.header.stamp
            queue[stamp.sec, stamp.nanosec] = message
            while len(queue) > QUEUE:
                del queue[min(queue)]
            for key in sorted(set.intersection(*map(set, self._queues.values()))):
                self.sets.append({name: q.pop(key) for name, q in self._queues.items()})

        return take


def painted_image(number: int) -> tuple[Image, np.ndarray]:
    """An image and its labels, uint8 [6, 8] ids of the bundled model's classes."""
    labels = np.random.default_rng(number).integers(0, len(CLASSES), (HEIGHT, WIDTH), np.uint8)
    image = rgb_image(number, HEIGHT, WIDTH)
    pixels = np.repeat(labels[..., None], 3, axis=2)
    image.data = array.array("B", pixels.tobytes())
    return image, labels


def with_header(message: Any, image: Image) -> Any:
    message.header = image.header
    return message


def depth_image(image: Image) -> Image:
    """A depth image of the same moment and size."""
    data = array.array("B", bytes(2 * HEIGHT * WIDTH))
    depth = Image(height=HEIGHT, width=WIDTH, encoding="16UC1", step=2 * WIDTH, data=data)
    return with_header(depth, image)


def calibration(height: int = HEIGHT, width: int = WIDTH) -> CameraInfo:
    k = [4.0, 0.0, 3.5, 0.0, 4.0, 2.5, 0.0, 0.0, 1.0]
    p = [4.0, 0.0, 3.5, 0.0, 0.0, 4.0, 2.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    return CameraInfo(height=height, width=width, k=k, p=p)


def give_calibration(running: Running) -> None:
    publisher = running.peer.publisher(CameraInfo, "camera_info")
    running.connect(publisher)
    publisher.publish(calibration())
    wait_until(lambda: running.node.cameras[0].infos, "the calibration received")


def costs(mask: Image, confidence: Image, cloud: PointCloud2, names: dict[str, int]) -> list[str]:
    """The class of each pixel, read as semantic_segmentation_layer reads it."""
    assert mask.width * mask.height == cloud.width * cloud.height
    assert len(mask.data) >= mask.width * mask.height
    assert len(confidence.data) >= mask.width * mask.height
    class_of = {number: name for name, number in names.items()}
    found = []
    for v in range(mask.height):
        for u in range(mask.width):
            pixel = v * mask.width + u
            assert confidence.data[pixel] == 255 - mask.data[pixel]
            found.append(class_of[mask.data[pixel]])
    return found


@pytest.mark.usefixtures("label_info")
def test_the_costmap_layer_of_nav2_finds_the_class_of_every_point(
    start: Callable[..., Running],
) -> None:
    running = start()
    image = running.peer.publisher(Image, "image")
    cloud = running.peer.publisher(PointCloud2, "depth/points", qos_profile_sensor_data)
    running.peer.listen(DiagnosticStatus, "segmentation/label_info", LATCHED)
    info = running.peer.wait_for("segmentation/label_info")
    names = {entry.key: int(entry.value) for entry in info.values}
    sets = ExactTime(
        running.peer,
        {
            "segmentation/mask": Image,
            "segmentation/confidence": Image,
            "depth/points": PointCloud2,
        },
        qos_profile_sensor_data,
    )
    running.connect(image, *sets.ends)
    for number in (1, 2, 3):
        message, labels = painted_image(number)
        cloud.publish(with_header(PointCloud2(height=HEIGHT, width=WIDTH), message))
        image.publish(message)
        wait_until(lambda number=number: len(sets.sets) == number, f"set {number}")
        mask, confidence, points = sets.sets[-1].values()
        assert mask.header == message.header
        assert costs(mask, confidence, points, names) == [CLASSES[i].name for i in labels.flat]


@pytest.mark.usefixtures("label_info")
def test_names_come_before_the_first_mask_and_to_those_who_come_late(
    start: Callable[..., Running],
) -> None:
    """The layer drops masks until it has the names, which it subscribes latched."""
    running = start(autostart=False)
    peer = running.peer
    arrived: list[str] = []
    ends = [
        peer.node.create_subscription(kind, topic, lambda _, t=topic: arrived.append(t), qos)
        for topic, kind, qos in (
            ("segmentation/label_info", DiagnosticStatus, LATCHED),
            ("segmentation/mask", Image, qos_profile_sensor_data),
        )
    ]
    image = peer.publisher(Image, "image")
    assert peer.transition(Transition.TRANSITION_CONFIGURE)
    peer.connect(*ends, others=running.node.publishers)
    assert peer.transition(Transition.TRANSITION_ACTIVATE)

    def mask_arrived() -> bool:  # images come all the while, from before it is activated
        image.publish(painted_image(1)[0])
        return "segmentation/mask" in arrived

    wait_until(mask_arrived, "a mask")
    assert arrived[0] == "segmentation/label_info"
    peer.listen(DiagnosticStatus, "segmentation/label_info", LATCHED)
    late = peer.wait_for("segmentation/label_info")
    assert [entry.key for entry in late.values] == [c.name for c in CLASSES]


def nav2_parameters() -> dict[str, Any]:
    """The layer's parameters in docs/integration/nav2.md."""
    page = blocks_of(DOCS / "integration" / "nav2.md")
    (block,) = (b.data for b in page if b.language == "yaml" and "pointcloud_topic" in b.text)
    return block["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_segmentation_layer"]


# What the layer declares (ros-navigation/semantic_segmentation_layer, May 2026).
LAYER = {
    "plugin", "enabled", "combination_method", "observation_sources", "publish_debug_topics",
    "use_approximate_time_sync", "sensor_data_depth",
}  # fmt: skip
SOURCE = {
    "segmentation_topic", "confidence_topic", "labels_topic", "pointcloud_topic",
    "observation_persistence", "expected_update_rate", "class_types", "max_obstacle_distance",
    "min_obstacle_distance", "tile_map_decay_time", "visualize_tile_map", "use_cost_selection",
    "camera_horizontal_fov", "camera_vertical_fov", "fov_decay_time", "outside_fov_decay_time",
    "visualize_frustum_fov",
}  # fmt: skip
CLASS_TYPE = {
    "classes", "base_cost", "max_cost", "mark_confidence", "samples_to_max_cost",
    "dominant_priority",
}  # fmt: skip


def test_the_documented_parameters_of_nav2_are_the_layers_and_name_every_class_once() -> None:
    """The layer ignores pixels of a class without a type, and complains of it."""
    layer = nav2_parameters()
    sources, source = layer["observation_sources"], layer[layer["observation_sources"]]
    assert set(layer) <= LAYER | {sources}
    assert set(source) <= SOURCE | set(source["class_types"])
    assert all(set(source[kind]) <= CLASS_TYPE for kind in source["class_types"])
    named = [name for kind in source["class_types"] for name in source[kind]["classes"]]
    assert sorted(named) == sorted(c.name for c in CLASSES)


def tile_class(pixels: Sequence[int], max_costs: dict[int, int]) -> int | None:
    """What marks a tile with `use_cost_selection`: SegmentationBuffer::bufferSegmentation."""
    best = pixels[0]
    for pixel in pixels[1:]:
        if max_costs.get(pixel, 0) > max_costs.get(best, 0):
            best = pixel
    return best if best in max_costs else None


def test_an_ignored_pixel_does_not_keep_the_road_out_of_its_tile() -> None:
    source = nav2_parameters()["camera"]
    assert source["use_cost_selection"]
    ids = {c.name: c.id for c in CLASSES}
    max_costs = {
        ids[name]: source[kind]["max_cost"]
        for kind in source["class_types"]
        for name in source[kind]["classes"]
    }
    assert tile_class([255, ids["road"]], max_costs) == ids["road"]
    assert tile_class([ids["sky"], ids["road"]], max_costs) == ids["road"]
    assert tile_class([ids["road"], ids["car"], 255], max_costs) == ids["car"]
    page = blocks_of(DOCS / "integration" / "nav2.md")
    (block,) = (b.data for b in page if b.language == "yaml" and "segmenter:" in b.text)
    assert block["segmenter"]["ros__parameters"]["ignore_below_confidence"] == 0.0


@pytest.fixture
def moving_things(tmp_path: Path) -> str:
    """The label set of docs/integration/nvblox.md, as a file."""
    page = blocks_of(DOCS / "integration" / "nvblox.md")
    (block,) = (b for b in page if b.language == "yaml" and "sources" in b.text)
    path = tmp_path / "moving.yaml"
    path.write_text(block.text)
    return str(path)


def test_nvblox_gets_what_moves_as_nonzero_with_its_camera(
    start: Callable[..., Running], moving_things: str
) -> None:
    """nvblox_node synchronises colour image, its camera_info, mask and its camera_info exactly,
    takes mono8 only, ends where mask, its camera and the colour image differ in size, and holds
    every pixel that is not zero for something that moves."""
    running = start(label_set=moving_things)
    give_calibration(running)
    image = running.peer.publisher(Image, "image")
    info = running.peer.publisher(CameraInfo, "color/camera_info")
    sets = ExactTime(
        running.peer,
        {
            "image": Image,
            "color/camera_info": CameraInfo,
            "segmentation/mask": Image,
            "segmentation/camera_info": CameraInfo,
        },
        qos_profile_sensor_data,
    )
    running.connect(image, *sets.ends)
    running.peer.connect(info)
    message, labels = painted_image(1)
    info.publish(with_header(calibration(), message))
    image.publish(message)
    wait_until(lambda: sets.sets, "a set")
    colour, _, mask, camera = sets.sets[0].values()
    assert (mask.encoding, mask.step) == ("mono8", mask.width)
    assert (mask.height, mask.width) == (camera.height, camera.width)
    assert (mask.height, mask.width) == (colour.height, colour.width)
    assert list(camera.k) == list(calibration().k)
    moves = {"person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"}
    expected = [CLASSES[i].name in moves for i in labels.flat]
    assert [value != 0 for value in mask.data] == expected
    assert any(expected)
    assert not all(expected)


def test_autoware_decodes_the_runs_to_the_mask(start: Callable[..., Running]) -> None:
    running = start(mask_format="autoware_rle")
    image = running.peer.publisher(Image, "image")
    topic = "segmentation/mask"
    running.connect(image, running.peer.listen(Image, topic, qos_profile_sensor_data))
    message, labels = painted_image(5)
    image.publish(message)
    runs = running.peer.wait_for_stamp(topic, message)
    decoded = run_length_decoder(runs.data.tobytes(), runs.height, runs.width)
    names = [c.name for c in load_label_set("autoware16").classes]
    # As the label set file has it; BIKE, ROAD, ... in upper case are Autoware's parameters.
    mapped = {
        "road": "road", "sidewalk": "sidewalk", "building": "building", "wall": "wall",
        "fence": "obstacle", "pole": "obstacle", "traffic light": "traffic_light",
        "traffic sign": "traffic_sign", "vegetation": "vegetation", "terrain": "vegetation",
        "sky": "sky", "person": "person", "rider": "bike", "car": "vehicle", "truck": "vehicle",
        "bus": "vehicle", "train": "vehicle", "motorcycle": "bike", "bicycle": "bike",
    }  # fmt: skip
    expected = [mapped[CLASSES[i].name] for i in labels.flat]
    assert [names[i] for i in decoded.flat] == expected


def test_the_documented_filter_of_autoware_names_its_classes_in_order() -> None:
    """Autoware's list is by position: the mask value is the place in it."""
    page = blocks_of(DOCS / "integration" / "autoware.md")
    (block,) = (b.data for b in page if b.language == "yaml" and "filter_semantic" in b.text)
    target = block["/**"]["ros__parameters"]["filter_semantic_label_target"]
    assert [name.lower() for name in target] == [
        c.name for c in load_label_set("autoware16").classes
    ]


def test_the_documented_matching_of_autoware_has_an_entry_for_each_camera() -> None:
    """Fewer are an error of FusionNode; of the windows any other number is one."""
    page = blocks_of(DOCS / "integration" / "autoware.md")
    (block,) = (b.data for b in page if b.language == "yaml" and "rois_timestamp" in b.text)
    (launch,) = (b.text for b in page if b.language == "sh" and "camera_number" in b.text)
    cameras = int(re.search(r"camera_number:=(\d+)", launch)[1])
    values = block["/**"]["ros__parameters"]
    matching = values["matching_strategy"]
    assert matching["type"] == "advanced"
    assert len(matching["rois_timestamp_noise_window"]) == cameras
    for name in (
        "rois_timestamp_offsets",
        "point_project_to_unrectified_image",
        "approximate_camera_projection",
    ):
        assert len(values[name]) >= cameras


def test_image_depth_and_mask_of_one_moment_find_each_other(start: Callable[..., Running]) -> None:
    """message_filters' exact policy; frames without a mask (dropped ones) leave no trace."""
    running = start()
    image = running.peer.publisher(Image, "image")
    depth = running.peer.publisher(Image, "depth")
    topics = {"image": Image, "depth": Image, "segmentation/mask": Image}
    sets = ExactTime(running.peer, topics, qos_profile_sensor_data)
    running.connect(image, *sets.ends)

    def send(number: int) -> Image:
        message, _ = painted_image(number)
        depth.publish(depth_image(message))
        image.publish(message)
        return message

    running.segmenter.go.clear()
    sent = [send(1)]
    wait_until(lambda: running.segmenter.started, "the first image in work")
    sent += [send(2), send(3)]
    wait_until(
        lambda: running.node.cameras[0].counter.snapshot().dropped == 1, "the second overtaken"
    )
    running.segmenter.go.set()
    wait_until(lambda: len(sets.sets) == 2, "the sets of the first and of the third")
    for found, expected in zip(sets.sets, (sent[0], sent[2]), strict=True):
        assert all(message.header == expected.header for message in found.values())
