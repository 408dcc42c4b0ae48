"""The pitch of a camera from sky and road, and of which drives `mount` takes it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cameras import CAMERA

from camss_ros.evaluation.mount_drive import mount_of_drive
from camss_ros.evaluation.street_camera import camera_of
from camss_ros.projection.horizon import horizon_bounds, pitch_between
from camss_ros.projection.mount import estimate_mount, road_edges
from camss_ros.street.classes import ROAD
from camss_ros.street.synthetic import SyntheticStreet, ViewShift

SKY, BUILDING = 0, 1


def row_of(degrees_down: float) -> int:
    """The row of the camera that looks so far down."""
    return round(CAMERA.cy + CAMERA.fy * math.tan(math.radians(degrees_down)))


def view(sky_to: float, road_from: float) -> np.ndarray:
    """Sky above, road below these angles (degrees down), buildings between them."""
    labels = np.full((480, 640), BUILDING, np.uint8)
    labels[: row_of(sky_to)] = SKY
    labels[row_of(road_from) :] = ROAD
    return labels


def bounds_of(labels: np.ndarray) -> tuple[float, float]:
    return horizon_bounds(labels, CAMERA, [SKY], [ROAD])


def test_the_bounds_are_the_lowest_sky_and_the_highest_road() -> None:
    labels = view(-5.0, 2.0)
    labels[row_of(1.0) : row_of(2.0), 300:330] = ROAD
    labels[row_of(3.0) : row_of(3.0) + 2, 10:13] = SKY  # a mistake of six pixels
    sky, road = (math.degrees(math.atan(y)) for y in bounds_of(labels))
    assert sky == pytest.approx(-5.0, abs=0.2)
    assert road == pytest.approx(1.0, abs=0.2)
    without = bounds_of(np.full((480, 640), BUILDING, np.uint8))
    assert np.isnan(without).all()


def test_the_pitch_is_between_them_and_the_wider_they_are_the_less_sure() -> None:
    errors = []
    for apart in (0.5, 2.0):
        found = pitch_between([bounds_of(view(-4.0 - apart, -4.0 + apart))] * 20)
        assert found is not None
        assert math.degrees(found.pitch) == pytest.approx(4.0, abs=0.1)
        assert (found.roll, found.roll_error, found.frames) == (None, math.inf, 20)
        errors.append(math.degrees(found.pitch_error))
    assert errors == pytest.approx([1.0 / math.sqrt(12), 4.0 / math.sqrt(12)], rel=0.1)


def test_a_few_frames_may_be_wrong_and_contradictions_give_nothing() -> None:
    good = [bounds_of(view(-5.0, -3.0))] * 19
    found = pitch_between([*good, bounds_of(view(10.0, 12.0))])
    assert found is not None
    assert math.degrees(found.pitch) == pytest.approx(4.0, abs=0.1)
    assert pitch_between(good[:9]) is None
    assert pitch_between([(math.nan, 0.1), (0.0, math.nan)] * 20) is None
    hills = [bounds_of(view(-8.0, -7.0)), bounds_of(view(2.0, 3.0))] * 10
    assert pitch_between(hills) is None
    assert pitch_between([(0.05, 0.05)] * 20) is None  # no horizon is between
    assert pitch_between([]) is None


@pytest.mark.parametrize("seed", [0, 2])
def test_a_drive_with_one_edge_in_view_is_sure_enough(seed: int) -> None:
    """In these streets parked cars hide the right edge."""
    street = SyntheticStreet(seed=seed, height=240, width=320)
    camera = camera_of(street.camera(0))
    masks = [street.frame(i, ViewShift(pitch=4.0))[1] for i in range(0, 450, 45)]
    edges = [road_edges(mask, camera, [ROAD]) for mask in masks]
    assert max(map(len, edges)) == 1
    alone = estimate_mount(edges)
    frames: Any = [SimpleNamespace(label=mask) for mask in masks]
    found = mount_of_drive(frames, camera, lambda frame: frame.label, [ROAD], [SKY])
    assert found.seen == "sky and road"
    assert math.degrees(found.pitch_error) < 1.0 < math.degrees(alone.pitch_error)
    assert math.degrees(found.pitch) == pytest.approx(4.0, abs=0.6)
    no_sky = mount_of_drive(frames, camera, lambda frame: frame.label, [ROAD], [])
    assert no_sky == alone
    for mask in masks:
        mask[:, :160] = BUILDING  # no edge at all
    found = mount_of_drive(frames, camera, lambda frame: frame.label, [ROAD], [SKY])
    assert found.seen == "sky and road"
    with pytest.raises(ValueError, match="found in 0 frames"):
        mount_of_drive(frames, camera, lambda frame: frame.label, [ROAD], [])
