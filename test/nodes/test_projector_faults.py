"""Thousands of fuzzed messages through the callbacks of the projector, one after the other."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rclpy
from fuzzed_messages import any_camera_info, any_image
from hypothesis import HealthCheck, given, settings
from running_projector import HEIGHT, WIDTH, calibration, depth_image, header, pair
from sensor_msgs.msg import PointCloud2, PointField

from camss_ros.nodes.projection.node import ProjectorNode
from camss_ros.nodes.projection.outputs import Outputs

CLOUDS = 10_000
LABELS = np.zeros((HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def node(domain_id: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ProjectorNode]]:
    """Active nodes that everybody listens to, and that process a set before the next comes."""
    monkeypatch.setattr(Outputs, "is_heard", lambda self, name="": True)
    context, nodes = rclpy.Context(), []
    rclpy.init(context=context, domain_id=domain_id)

    def make(**parameters: Any) -> ProjectorNode:
        overrides = [rclpy.Parameter(name, value=value) for name, value in parameters.items()]
        made = ProjectorNode(context=context, parameter_overrides=overrides)
        nodes.append(made)
        made.autostart()
        assert made._worker is not None
        made._worker.cancel()
        made._worker = SimpleNamespace(  # type: ignore[assignment]
            submit=lambda job, inputs: made._process({job: inputs}, lambda: False),
            cancel=lambda: None,
            join=lambda timeout: True,
        )
        return made

    yield make
    for each in nodes:
        each.shut_down()
        each.destroy_node()
    rclpy.shutdown(context=context)


def any_cloud(rng: np.random.Generator) -> PointCloud2:
    """Right, or with fields, sizes and data that are anything."""
    count, step = int(rng.integers(0, 20)), int(rng.integers(12, 40))
    offsets = rng.permutation([0, 4, 8]) + rng.integers(0, max(1, step - 11))
    message = PointCloud2(
        height=1, width=count, point_step=step, row_step=count * step,
        is_bigendian=bool(rng.integers(2)),
        fields=[
            PointField(name=name, offset=int(offset), datatype=7, count=1)
            for name, offset in zip("xyz", offsets, strict=True)
        ],
        data=array.array("B", rng.bytes(count * step)),
    )  # fmt: skip
    uint32 = [0, 1, 7, 2**31, 2**32 - 1]
    for what in rng.choice(["height", "width", "point_step", "row_step", "data", "field", ""], 2):
        if what == "data":
            message.data = array.array("B", rng.bytes(int(rng.integers(0, 900))))
        elif what == "field":
            field = message.fields[int(rng.integers(3))]
            field.name = str(rng.choice(["x", "y", "z", "label", ""]))
            field.datatype = int(rng.integers(0, 256))
            field.offset = int(rng.choice([*uint32, 3, 11]))
        elif what:
            setattr(message, what, int(rng.choice(uint32)))
    return message


def feed(node: ProjectorNode, number: int, **changed: Any) -> None:
    (stream,) = node._streams
    messages = pair(number, LABELS)
    stream._on_camera_info(changed.get("info", calibration()))
    stream._on_image("confidence", changed.get("confidence", messages["segmentation__confidence"]))
    stream._on_image("mask", changed.get("mask", messages["segmentation__mask"]))


def test_any_cloud_is_labelled_or_rejected(
    node: Callable[..., ProjectorNode], capfd: pytest.CaptureFixture[str]
) -> None:
    one = node(cloud_from="lidar", lidar_to_camera=[0.0] * 6 + [1.0], sync_tolerance=10.0)
    job = one.jobs[0]
    feed(one, 1)
    rng = np.random.default_rng(19)
    for number in range(CLOUDS):
        message = any_cloud(rng)
        message.header = header(1, nanosec=number)
        job._on_points(message)  # type: ignore[attr-defined]
    counts = one.reports.snapshot(job)
    rejected = sum(n for what, n in counts.items() if what.startswith("rejected"))
    assert counts["failed"] == 0
    assert counts["projected"] + rejected == CLOUDS
    assert min(counts["projected"], rejected) > CLOUDS / 10
    logged = capfd.readouterr().err
    # one reason now and then, not ten thousand
    assert 1 <= logged.count("labeled_cloud: points:") < CLOUDS / 1000


def test_any_mask_depth_and_calibration_is_projected_or_rejected(
    node: Callable[..., ProjectorNode],
) -> None:
    one = node(mount=[1.5, 5.0, 0.0])
    (cloud,) = (job for job in one.jobs if job.name == "labeled_cloud")
    number = 1

    @settings(max_examples=120, suppress_health_check=list(HealthCheck), database=None)
    @given(image=any_image(), info=any_camera_info())
    def each(image: Any, info: Any) -> None:
        nonlocal number
        number += 3
        image.header = header(number)
        feed(one, number, mask=image)
        cloud._on_depth(image)  # type: ignore[attr-defined]
        feed(one, number + 1, info=info)
        cloud._camera.set(info)  # type: ignore[attr-defined]
        cloud._on_depth(depth_image(number + 1, np.ones((HEIGHT, WIDTH))))  # type: ignore[attr-defined]
        # and the next good one is projected
        before = one.reports.snapshot(cloud)["projected"]
        cloud._camera.set(calibration())  # type: ignore[attr-defined]
        feed(one, number + 2)
        cloud._on_depth(depth_image(number + 2, np.ones((HEIGHT, WIDTH))))  # type: ignore[attr-defined]
        assert one.reports.snapshot(cloud)["projected"] == before + 1

    each()
    for job in one.jobs:
        assert one.reports.snapshot(job)["failed"] == 0
