"""The node on a GPU: lifecycle without growth, a lack of memory, images over DDS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

rclpy = pytest.importorskip("rclpy")
from ros_peer import RosPeer, rgb_image, wait_until  # noqa: E402 -- they import rclpy

from camss_ros.inference.segmenter import FrameRequest, Segmenter  # noqa: E402
from camss_ros.nodes.segmenter.deadline import Deadline  # noqa: E402
from camss_ros.nodes.segmenter.frame import Arrival  # noqa: E402
from camss_ros.nodes.segmenter.frame_processor import FrameProcessor  # noqa: E402
from camss_ros.nodes.segmenter.memory_guard import MemoryGuard  # noqa: E402
from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader  # noqa: E402
from camss_ros.nodes.segmenter.node import SegmenterNode  # noqa: E402
from camss_ros.nodes.segmenter.parameters import SPECS, ParameterValues  # noqa: E402
from camss_ros.run_segmenter import check_guard, load_segmenter  # noqa: E402

SIZE = (480, 640)


@pytest.fixture
def make_node(domain_id: int) -> Iterator[Callable[[], SegmenterNode]]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    nodes: list[SegmenterNode] = []

    def make() -> SegmenterNode:
        given = {"device": "cuda", "backend": "torch", "autostart": False}
        overrides = [rclpy.Parameter(name, value=value) for name, value in given.items()]
        nodes.append(
            SegmenterNode(
                segmenter_factory=load_segmenter,
                check_guard=check_guard,
                context=context,
                parameter_overrides=overrides,
            )
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.shut_down()
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_the_lifecycle_leaves_no_memory_on_the_gpu(make_node):
    node = make_node()
    held = []
    for _ in range(20):
        for transition in ("configure", "activate", "deactivate", "cleanup"):
            result = getattr(node, f"trigger_{transition}")()
            assert result == rclpy.lifecycle.TransitionCallbackReturn.SUCCESS
        held.append(torch.cuda.memory_reserved())
    assert held[-1] <= held[1]


def test_a_lack_of_memory_makes_it_do_with_less():
    """A GPU with room for a sample of a frame, and not for 64."""
    segmenter = Segmenter(device="cuda", backend="torch")
    torch.cuda.reset_peak_memory_stats()
    segmenter.warm_up(*SIZE)
    segmenter.release_memory()
    room = 2 * torch.cuda.max_memory_allocated() + 64 * 2**20
    values = ParameterValues({spec.name: spec.initial() for spec in SPECS} | {"samples": 64})
    models, guard = ModelReloader(), MemoryGuard()
    warnings: list[str] = []
    processor = FrameProcessor(
        models,
        Deadline(values, Mock(), Mock()),
        guard,
        lambda kind, text: warnings.append(text),
    )
    loaded = LoadedModel(segmenter, SimpleNamespace(), values)  # type: ignore[arg-type]
    models.replace(models.begin(), lambda: loaded, lambda _: None)
    camera = Mock()
    camera.request = lambda image, header: FrameRequest(image)
    torch.cuda.set_per_process_memory_fraction(
        room / torch.cuda.get_device_properties(0).total_memory
    )
    for number in range(3):
        arrivals = {camera: Arrival(rgb_image(number, *SIZE), time.monotonic())}
        processor.process(arrivals, lambda: False)
    camera.fail.assert_not_called()
    assert camera.publish.call_count == 3
    assert guard.one_sample
    assert "out of memory" in warnings[0]
    segmenter.close()


def test_images_are_segmented_over_dds(spawn, module_domain_id):
    from sensor_msgs.msg import Image

    process = spawn(device="cuda")
    peer = RosPeer(module_domain_id)
    try:
        image = peer.publisher(Image, "image")
        mask = peer.listen(Image, "segmentation/mask")
        process.wait_for_log("active: segmenting")
        peer.connect(image, mask)
        for number in range(5):
            sent = rgb_image(number, *SIZE)
            image.publish(sent)
            received = peer.wait_for_stamp("segmentation/mask", sent)
            assert (received.height, received.width) == SIZE
        wait_until(lambda: "cuda" in process.log, "the device in the log")
    finally:
        peer.close()
