"""Where the vehicle was between two messages of odometry."""

from __future__ import annotations

import math

import pytest

from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.odometry import OdometryTrack, yaw_of

SECOND = 10**9


def test_a_place_in_between_is_on_the_shorter_way_round() -> None:
    track = OdometryTrack()
    assert track.add(10 * SECOND, 0.0, 0.0, math.radians(170))
    assert track.add(10 * SECOND + SECOND // 2, 2.0, -4.0, math.radians(-170))
    x, y, yaw = track.at(10 * SECOND + SECOND // 4)
    assert (x, y) == (1.0, -2.0)
    assert math.cos(yaw) == pytest.approx(-1)
    assert track.at(10 * SECOND - SECOND // 4) == (0.0, 0.0, math.radians(170))


def test_what_is_too_far_away_is_not_believed() -> None:
    track = OdometryTrack()
    with pytest.raises(ProjectionRejectedError, match="none has come"):
        track.at(0)
    track.add(0, 1.0, 2.0, 3.0)
    with pytest.raises(ProjectionRejectedError, match=r"0\.60 s away"):
        track.at(6 * SECOND // 10)
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
    assert track.add(2 * SECOND // 10, 2.0, 0.0, 0.0)
    assert track.at(SECOND // 10) == (1.0, 0.0, 0.0)
    assert track.at(2 * SECOND // 10)[0] == pytest.approx(2.0)


def test_the_heading_of_a_quaternion() -> None:
    assert yaw_of(0.0, 0.0, math.sin(0.4), math.cos(0.4)) == pytest.approx(0.8)
