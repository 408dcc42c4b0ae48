"""The reference pages are what the code says, and the code what the running node does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
from rclpy.node import NodeNameNonExistentError
from rclpy.qos import ReliabilityPolicy
from ros_peer import rgb_image, wait_until
from scripted_node import Running

from camss_ros.inference.backends.base import BACKENDS
from camss_ros.inference.device import PRECISIONS
from camss_ros.model.schedule import SamplerName, SamplingOptions
from camss_ros.nodes.endpoints import ROS_PUBLISHED, ROS_SERVICES, ROS_SUBSCRIBED, Endpoint
from camss_ros.nodes.messages import label_info_type
from camss_ros.nodes.parameter_table import Change, ParameterSpec
from camss_ros.nodes.qos import LATCHED, PROFILES
from camss_ros.nodes.reference import PAGES
from camss_ros.nodes.segmenter.interfaces import PUBLISHED, SERVICES, SUBSCRIBED
from camss_ros.nodes.segmenter.parameters import SPECS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_command_writes(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def expected(endpoints: Iterable[Endpoint], parameters: dict[str, str]) -> dict[str, list[str]]:
    values = {spec.name: spec.default for spec in SPECS} | {"use_sim_time": "false"} | parameters
    return {
        e.resolved(): [e.type]
        for e in endpoints
        if (e.only_with is None or values[e.only_with[0]] in e.only_with[1])
        and (e.needs != "vision_msgs" or label_info_type() is not None)
    }


@pytest.mark.parametrize(
    "parameters", [{}, {"image_transport": "compressed", "mask_format": "png"}]
)
def test_a_running_node_has_these_topics_and_services(
    start: Callable[..., Running], parameters: dict[str, str]
) -> None:
    running = start(**parameters)
    wait_until(lambda: running.node._state == "active", "the node active")
    for what, endpoints in (
        ("subscriber", (*SUBSCRIBED, *ROS_SUBSCRIBED)),
        ("publisher", (*PUBLISHED, *ROS_PUBLISHED)),
        ("service", (*SERVICES, *ROS_SERVICES)),
    ):
        ask = getattr(running.peer.node, f"get_{what}_names_and_types_by_node")
        wanted = expected(endpoints, parameters)
        # Discovery takes its time.
        wait_until(
            lambda ask=ask, wanted=wanted: known(ask) == wanted,
            lambda ask=ask, wanted=wanted: f"{wanted}, but {known(ask)}",
        )


def known(ask: Callable[[str, str], list[tuple[str, list[str]]]]) -> dict[str, list[str]]:
    try:
        return dict(ask("segmenter", "/"))
    except NodeNameNonExistentError:
        return {}


def test_with_simulated_time_it_listens_to_the_clock(start: Callable[..., Running]) -> None:
    running = start(use_sim_time=True, autostart=False)
    (clock,) = ROS_SUBSCRIBED
    topics = running.node.get_subscriber_names_and_types_by_node("segmenter", "/")
    assert topics == [(clock.resolved(), [clock.type])]


def test_topics_have_the_quality_of_service_that_is_said(start: Callable[..., Running]) -> None:
    running = start(output_qos="sensor_data")
    wait_until(lambda: running.node._state == "active", "the node active")
    reliability = {
        "image_qos": PROFILES["sensor_data"].reliability,
        "output_qos": PROFILES["sensor_data"].reliability,
        "latched": LATCHED.reliability,
        "reliable": ReliabilityPolicy.RELIABLE,
    }
    for ask, endpoints in (
        (running.node.get_subscriptions_info_by_topic, SUBSCRIBED),
        (running.node.get_publishers_info_by_topic, PUBLISHED),
    ):
        for endpoint in endpoints:
            for info in ask(endpoint.resolved()):
                profile = info.qos_profile
                assert profile.reliability == reliability[endpoint.qos], endpoint.name
                latched = profile.durability == LATCHED.durability
                assert latched == (endpoint.qos == "latched"), endpoint.name


def test_the_outputs_are_reliable_by_default(node: Running) -> None:
    (mask,) = node.peer.node.get_publishers_info_by_topic("/segmentation/mask")
    assert mask.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_a_running_node_has_these_parameters(start: Callable[..., Running]) -> None:
    node = start(autostart=False).node
    # Of every node.
    own = set(node._parameters) - {"use_sim_time", "start_type_description_service"}
    assert own == {spec.name for spec in SPECS}
    for spec in SPECS:
        described = node.describe_parameter(spec.name)
        assert described.description == spec.description
        assert described.read_only == (spec.change is Change.NEVER)
        ranges = (described.integer_range, described.floating_point_range)
        if spec.bounds is None or isinstance(spec.default, tuple):
            assert not any(ranges)
        else:
            (found,) = ranges[isinstance(spec.default, float)]
            assert (found.from_value, found.to_value) == spec.bounds
            assert not ranges[isinstance(spec.default, int)]


def test_the_table_has_the_choices_that_the_code_has() -> None:
    choices = {spec.name: spec.choices for spec in SPECS}
    assert choices["image_qos"] == choices["output_qos"] == tuple(PROFILES)
    assert choices["backend"] == BACKENDS
    assert choices["precision"] == PRECISIONS
    assert choices["sampler"] == get_args(SamplerName)


def test_nodes_and_python_sample_alike_by_default(node: Running) -> None:
    image = rgb_image(1)
    node.image.publish(image)
    node.peer.wait_for_stamp("segmentation/mask", image)
    assert node.segmenter.sampling == SamplingOptions()


def _another_value(spec: ParameterSpec) -> Any:
    if isinstance(spec.default, bool):
        return not spec.default
    if isinstance(spec.default, tuple):
        return ["front"]
    if isinstance(spec.default, int):
        return spec.default + 1
    return next((choice for choice in spec.choices if choice != spec.default), "camvid11")


def test_the_parameters_of_a_running_node_can_be_given_back_to_it(node: Running) -> None:
    """`ros2 param load` of what `ros2 param dump` wrote."""
    parameters = node.node.get_parameters(sorted(node.node._parameters))
    assert {spec.name for spec in SPECS} < {parameter.name for parameter in parameters}
    for parameter in parameters:
        result = node.peer.set_parameter(parameter.name, parameter.value)
        assert result.successful, result.reason
    assert node.node.set_parameters_atomically(parameters).successful


def test_what_cannot_change_now_says_so(node: Running) -> None:
    says = {
        Change.NEVER: "read-only",
        Change.UNCONFIGURED: "only while the node is unconfigured",
    }
    fixed = [spec for spec in SPECS if spec.change in says]
    assert {spec.change for spec in fixed} == set(says)
    for spec in fixed:
        result = node.peer.set_parameter(spec.name, _another_value(spec))
        assert not result.successful, spec.name
        assert says[spec.change] in result.reason
        assert spec.name in result.reason
