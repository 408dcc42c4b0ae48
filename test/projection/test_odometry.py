"""Where the vehicle was between two messages of odometry."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.odometry import OdometryTrack, yaw_of
from camss_ros.projection.transforms import rotation

SECOND = 10**9


def test_a_place_in_between_is_on_the_shorter_way_round() -> None:
    track = OdometryTrack()
    assert track.add(10 * SECOND, 1.0, 3.0, math.radians(170))
    assert track.add(10 * SECOND + SECOND // 2, 3.0, -1.0, math.radians(-70))
    x, y, yaw = track.at(10 * SECOND + SECOND // 4)
    assert (x, y) == (2.0, 1.0)
    assert math.degrees(yaw) == pytest.approx(230)
    assert track.at(10 * SECOND - SECOND // 4) == (1.0, 3.0, math.radians(170))


def test_what_is_too_far_away_is_not_believed() -> None:
    track = OdometryTrack()
    with pytest.raises(ProjectionRejectedError, match="none has come"):
        track.at(0)
    track.add(0, 1.0, 2.0, 3.0)
    with pytest.raises(ProjectionRejectedError, match=r"0\.60 s away"):
        track.at(6 * SECOND // 10)
    track.add(20 * SECOND, 1.0, 2.0, 3.0)
    assert track.at(SECOND // 2) == (1.0, 2.0, 3.0)
    with pytest.raises(ProjectionRejectedError, match="not finite"):
        track.add(SECOND, math.nan, 0.0, 0.0)


def test_a_track_begins_again_when_the_time_goes_back() -> None:
    track = OdometryTrack()
    track.add(100 * SECOND, 1.0, 1.0, 0.0)
    assert not track.add(5 * SECOND, 7.0, 7.0, 0.0)
    assert track.at(5 * SECOND) == (7.0, 7.0, 0.0)
    with pytest.raises(ProjectionRejectedError):
        track.at(100 * SECOND)


def test_a_place_that_comes_late_forgets_nothing() -> None:
    track = OdometryTrack()
    for number in (0, 1, 3):
        assert track.add(number * SECOND // 10, float(number), 0.0, 0.0)
    assert track.add(2 * SECOND // 10, 99.0, 0.0, 0.0)
    assert track.at(SECOND // 10) == (1.0, 0.0, 0.0)
    assert track.at(2 * SECOND // 10)[0] == pytest.approx(2.0)
    assert track.at(4 * SECOND // 10) == (3.0, 0.0, 0.0)


def test_what_is_long_past_is_forgotten() -> None:
    track = OdometryTrack()
    for number in range(1100):
        track.add(number * SECOND, 0.0, 0.0, 0.0)
    with pytest.raises(ProjectionRejectedError, match=r"100\.00 s away"):
        track.at(0)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: math.hypot(*q) > 0.1))
def test_the_heading_of_a_quaternion_is_where_its_x_axis_points(quaternion: list[float]) -> None:
    length = math.hypot(*quaternion)
    forward = rotation(quaternion)[:, 0]
    assume(math.hypot(*forward[:2]) > 1e-3)  # straight up it has none
    yaw = yaw_of(*(value / length for value in quaternion))
    assert math.cos(yaw - math.atan2(forward[1], forward[0])) == pytest.approx(1)
