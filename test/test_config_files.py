"""RViz, Foxglove, SROS 2 and DDS files fit the node."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from camss_ros.nodes.endpoints import ROS_PUBLISHED, ROS_SERVICES, ROS_SUBSCRIBED
from camss_ros.nodes.harness.child_process import large_images
from camss_ros.nodes.projection import interfaces as projector
from camss_ros.nodes.projection import parameters as projector_parameters
from camss_ros.nodes.segmenter.interfaces import PUBLISHED, SERVICES, SUBSCRIBED
from camss_ros.nodes.segmenter.parameters import SPECS

CONFIG = Path(__file__).resolve().parents[1] / "config"
NAMES = {endpoint.name for endpoint in (*SUBSCRIBED, *PUBLISHED)}
TYPES = {endpoint.resolved(): endpoint.type for endpoint in (*SUBSCRIBED, *PUBLISHED)}


def test_rviz_shows_images_of_the_node_with_a_quality_of_service_that_fits_all() -> None:
    config = yaml.safe_load((CONFIG / "segmentation.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    topics = [display["Topic"] for display in displays]
    shown = [topic["Value"] for topic in topics]
    assert shown[:2] == ["segmentation/overlay", "segmentation/mask_color"]
    assert set(shown) <= NAMES  # relative: those of RViz's namespace
    assert {TYPES[f"/{topic}"] for topic in shown} == {"sensor_msgs/msg/Image"}
    # RViz stretches only images of 16 bits and floats: class ids stay black
    assert "segmentation/mask" not in shown
    assert {display["Class"] for display in displays} == {"rviz_default_plugins/Image"}
    assert {topic["Reliability Policy"] for topic in topics} == {"Best Effort"}
    assert {topic["Durability Policy"] for topic in topics} == {"Volatile"}


def test_rviz_and_foxglove_show_what_the_projector_publishes() -> None:
    config = yaml.safe_load((CONFIG / "projection.rviz").read_text())["Visualization Manager"]
    types = TYPES | {e.resolved(): e.type for e in projector.PUBLISHED}
    shown = {
        display["Topic"]["Value"]: display["Class"].rpartition("/")[2]
        for display in config["Displays"]
        if "Topic" in display
    }
    kinds = {"Map": "OccupancyGrid"}
    for topic, kind in shown.items():
        assert types[f"/{topic}"].rpartition("/")[2] == kinds.get(kind, kind)
    assert {"labeled_cloud", "drivable_grid", "obstacle_scan"} <= set(shown)
    frame = {spec.name: spec.default for spec in projector_parameters.SPECS}["vehicle_frame"]
    assert config["Global Options"]["Fixed Frame"] == frame
    layout = json.loads((CONFIG / "foxglove_projection.json").read_text())
    panels = layout["configById"]
    assert panels_of(layout["layout"]) == set(panels)
    assert panels["3D!world"]["followTf"] == frame
    assert set(panels["3D!world"]["topics"]) == {f"/{t}" for t in shown} - {"/segmentation/overlay"}


def panels_of(layout: Any) -> set[str]:
    if isinstance(layout, str):
        return {layout}
    return panels_of(layout["first"]) | panels_of(layout["second"])


def test_foxglove_shows_topics_of_the_node() -> None:
    layout = json.loads((CONFIG / "foxglove_layout.json").read_text())
    panels = layout["configById"]
    assert panels_of(layout["layout"]) == set(panels)
    images = [panel["imageMode"] for name, panel in panels.items() if name.startswith("Image!")]
    assert {TYPES[image["imageTopic"]] for image in images} == {"sensor_msgs/msg/Image"}
    assert "/segmentation/mask" not in {image["imageTopic"] for image in images}  # nearly black
    # Without the optional camera_info a panel that asks for it stays empty.
    assert not any("calibrationTopic" in image for image in images)
    assert TYPES[panels["DiagnosticSummary!health"]["topicToRender"]].endswith("DiagnosticArray")

    from camss_ros.msg import SegmenterStatus

    for path in panels["Plot!latency"]["paths"]:
        topic, field = path["value"].split(".")
        assert TYPES[topic] == "camss_ros/msg/SegmenterStatus"
        assert field in SegmenterStatus.get_fields_and_field_types()


def test_the_security_policy_allows_what_the_node_does_and_no_more() -> None:
    policy = ElementTree.parse(CONFIG / "sros2" / "policy.xml").getroot()
    assert (policy.tag, policy.get("version")) == ("policy", "0.2.0")
    (profile,) = policy.findall("enclaves/enclave/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "segmenter")
    allowed: dict[str, list[str]] = {}
    for rule in profile:
        ((action, qualifier),) = rule.attrib.items()
        assert qualifier == "ALLOW"
        allowed[action] = [str(expression.text) for expression in rule]
    assert allowed == {
        "subscribe": [e.name for e in (*SUBSCRIBED, *ROS_SUBSCRIBED)],
        "publish": [e.name for e in (*PUBLISHED, *ROS_PUBLISHED)],
        "reply": [e.name for e in (*SERVICES, *ROS_SERVICES)],
    }


def test_fast_dds_has_room_for_several_images() -> None:
    (path,) = large_images().values()
    assert Path(path) == CONFIG / "dds" / "fastdds_large_images.xml"
    name = {"dds": "http://www.eprosima.com"}
    profiles = ElementTree.parse(path).getroot()
    shared = profiles.find(".//dds:transport_descriptor[dds:type='SHM']", name)
    assert shared is not None
    image = 1920 * 1080 * 3
    assert int(shared.findtext("dds:segment_size", "", name)) >= 5 * image
    assert int(shared.findtext("dds:maxMessageSize", "", name)) >= image
    # fragments of 64 KiB, of several cameras
    queue = int(shared.findtext("dds:port_queue_capacity", "", name))
    assert queue * 65536 >= 4 * int(shared.findtext("dds:segment_size", "", name))
    used = {e.text for e in profiles.findall(".//dds:userTransports/dds:transport_id", name)}
    assert shared.findtext("dds:transport_id", "", name) in used


def test_cyclone_dds_has_a_buffer_for_an_image() -> None:
    name = {"dds": "https://cdds.io/config"}
    root = ElementTree.parse(CONFIG / "dds" / "cyclonedds.xml").getroot()
    buffer = root.find(".//dds:Internal/dds:SocketReceiveBufferSize", name)
    assert buffer is not None
    assert int(buffer.attrib["min"].removesuffix("MB")) * 10**6 >= 1920 * 1080 * 3


@pytest.mark.parametrize(
    ("name", "specs"), [("segmenter", SPECS), ("projector", projector_parameters.SPECS)]
)
def test_a_parameter_file_has_every_parameter_at_its_default(name: str, specs: Any) -> None:
    values = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())["/**"]["ros__parameters"]
    assert values == {spec.name: spec.initial() for spec in specs}
