"""Thousands of fuzzed messages through the callbacks of the node, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from fault_scale import scaled
from fuzzed_messages import any_camera_info, any_compressed_image, any_image
from hypothesis import HealthCheck, given, settings
from ros_peer import TIMEOUT, rgb_image
from scripted_node import ScriptedSegmenter
from sensor_msgs.msg import CameraInfo

from camss_ros.nodes.segmenter.camera_info import belongs_to, scale_camera_info
from camss_ros.nodes.segmenter.diagnostics import FrameCounts
from camss_ros.nodes.segmenter.node import SegmenterNode

EXPECTED = ("vision_msgs", "active:", "configured:")
# What libjpeg says of a file that it mends and decodes; it cannot be told to keep silent.
EXPECTED += ("Corrupt JPEG data", "unknown JFIF revision", "Invalid SOS parameters",
             "Inconsistent progression sequence", "Unknown Adobe color transform")  # fmt: skip
REASONS = {"encoding", "size", "step", "data"}


class Boundary:
    """A node whose callbacks are called directly; its inference thread and its publishers work."""

    def __init__(self, domain_id: int, **parameters: Any) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = SegmenterNode(
            segmenter_factory=lambda _: ScriptedSegmenter(),  # type: ignore[arg-type,return-value]
            check_guard=lambda file, segmenter: None,
            context=self._context,
            parameter_overrides=[rclpy.Parameter(n, value=v) for n, v in parameters.items()],
        )
        self.camera = self.node.cameras[0]
        self.node.autostart()

    @property
    def counts(self) -> FrameCounts:
        return self.camera.counter.snapshot()

    def take(self, callback: Callable[[Any], None], message: Any) -> None:
        """Hand over a message; wait until it has met its fate, of which there are two."""
        before = self.counts
        callback(message)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            counts = self.counts
            new = counts.segmented - before.segmented + counts.failed - before.failed
            if new + counts.rejected.total() - before.rejected.total() == 1:
                assert counts.failed == before.failed, message
                return
            time.sleep(0.0002)
        raise AssertionError(f"nothing became of {message}")

    def close(self) -> None:
        self.node.trigger_shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def boundary(domain_id: int) -> Iterator[Callable[..., Boundary]]:
    made: list[Boundary] = []

    def make(**parameters: Any) -> Boundary:
        made.append(Boundary(domain_id, **parameters))
        return made[-1]

    yield make
    for one in made:
        one.close()


def fuzz(strategy: Any, examples: int, handle: Callable[[Any], None]) -> None:
    """Let `handle` have so many messages."""

    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def each(message: Any) -> None:
        handle(message)

    each()


def test_any_image_is_segmented_or_rejected(
    boundary: Callable[..., Boundary], capfd: pytest.CaptureFixture[str]
) -> None:
    one = boundary()
    start = time.monotonic()
    fuzz(any_image(), scaled(300, 4000), lambda image: one.take(one.camera._on_image, image))
    counts = one.counts
    assert counts.segmented > counts.received / 20  # good ones are among them
    assert set(counts.rejected) == REASONS
    one.take(one.camera._on_image, rgb_image(1))
    assert one.counts.segmented == counts.segmented + 1
    _logged_once_each(capfd.readouterr().err, start)


def test_any_compressed_image_is_segmented_or_rejected(
    boundary: Callable[..., Boundary], capfd: pytest.CaptureFixture[str]
) -> None:
    one = boundary(image_transport="compressed")
    start = time.monotonic()
    take = one.camera._on_image
    fuzz(any_compressed_image(), scaled(300, 3000), lambda image: one.take(take, image))
    counts = one.counts
    assert counts.segmented > counts.received / 20  # good ones are among them
    assert set(counts.rejected) <= REASONS
    assert counts.rejected["data"] > 0
    _logged_once_each(capfd.readouterr().err, start)


def _logged_once_each(log: str, start: float) -> None:
    """A line for each kind of fault, again after ten seconds; nothing else, whoever wrote it."""
    rejected = [line for line in log.splitlines() if "image rejected" in line]
    others = [
        line
        for line in log.splitlines()
        if line.strip() and line not in rejected
        and not any(known in line for known in EXPECTED)
    ]  # fmt: skip
    assert others == []
    assert log.count("use one of rgb8, ") <= 1
    periods = 1 + (time.monotonic() - start) // 10
    assert 0 < len(rejected) <= len(REASONS) * periods


@pytest.mark.parametrize("output_size", [[0, 0], [640, 480]])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_image_is_segmented_whatever_its_calibration(
    boundary: Callable[..., Boundary], output_size: list[int]
) -> None:
    one = boundary(output_size=output_size)

    def handle(info: CameraInfo) -> None:
        one.camera._on_camera_info(info)
        one.take(one.camera._on_image, rgb_image(1))
        scaled_info = scale_camera_info(info, (32, 48), (480, 640), info.header)
        numbers = [scaled_info.height, scaled_info.width]
        numbers += [getattr(scaled_info.roi, n) for n in ("x_offset", "y_offset", "width")]
        assert 0 <= min(numbers) <= max(numbers) < 2**32

    fuzz(any_camera_info(), scaled(100, 1500), handle)


def test_a_calibration_of_another_size_is_told(
    boundary: Callable[..., Boundary], capfd: pytest.CaptureFixture[str]
) -> None:
    one = boundary()
    for height, width in ((32, 48), (480, 640), (480, 640)):
        one.camera._on_camera_info(CameraInfo(height=height, width=width))
        one.take(one.camera._on_image, rgb_image(1))
    log = capfd.readouterr().err
    assert log.count("camera_info is of 640 x 480 pixels, the image of 48 x 32") == 1
    assert log.count("camera_info is of") == 1


@pytest.mark.parametrize(
    ("size", "binning", "roi", "belongs"),
    [
        ((32, 48), (0, 0), (0, 0), True),
        ((0, 0), (0, 0), (0, 0), True),  # it says nothing
        ((48, 32), (0, 0), (0, 0), False),
        ((64, 96), (0, 0), (0, 0), False),
        ((64, 96), (2, 2), (0, 0), True),
        ((65, 97), (2, 2), (0, 0), True),
        ((64, 96), (2, 1), (0, 0), False),
        ((32, 48), (2, 2), (0, 0), True),  # the binning was taken off the size already
        ((480, 640), (0, 0), (32, 48), True),
        ((480, 640), (2, 2), (64, 96), True),
        ((480, 640), (1, 1), (64, 96), False),
    ],
)
def test_whether_a_calibration_can_be_of_an_image(
    size: tuple[int, int], binning: tuple[int, int], roi: tuple[int, int], belongs: bool
) -> None:
    info = CameraInfo(height=size[0], width=size[1], binning_y=binning[0], binning_x=binning[1])
    info.roi.height, info.roi.width = roi
    assert belongs_to(info, (32, 48)) is belongs
