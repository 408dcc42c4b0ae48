"""Frames of /tf_static."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.frame_tree import FrameTree
from camss_ros.projection.transforms import apply, rotation, transform

QUARTER = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))  # of a turn to the left


def robot() -> FrameTree:
    """A mast 1 m before the base, turned to the left, with a lidar 2 m up; a camera at the back."""
    frames = FrameTree()
    frames.add("base", "/mast", transform((1, 0, 0), QUARTER))
    frames.add("mast", "lidar", transform((0, 0, 2), (0, 0, 0, 1)))
    frames.add("base", "camera", transform((-1, 0, 0), (0, 0, 0, 1)))
    return frames


def test_points_go_up_to_the_shared_frame_and_down_again() -> None:
    point = np.array([[3.0], [0.0], [0.0]])  # 3 m before the lidar: 3 m left of the base
    found = apply(robot().between("camera", "lidar"), point)
    np.testing.assert_allclose(found[:, 0], (2, 3, 2), atol=1e-12)
    back = apply(robot().between("/lidar", "camera"), found)
    np.testing.assert_allclose(back, point, atol=1e-12)
    np.testing.assert_allclose(robot().between("map", "map"), np.eye(4))


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4).filter(lambda q: math.hypot(*q) > 1e-3))
def test_the_rotation_of_a_quaternion_is_that_about_its_axis(quaternion: list[float]) -> None:
    *axis, w = quaternion
    sin = math.hypot(*axis)
    angle = 2 * math.atan2(sin, abs(w))  # the shorter way round
    towards = math.copysign(1, w) * np.array(axis) / sin if sin > 1e-12 else np.zeros(3)
    expected, _ = cv2.Rodrigues(towards * angle)
    np.testing.assert_allclose(rotation(quaternion), expected, atol=1e-9)


@pytest.mark.parametrize("numbers", [(0.0,) * 4, (math.nan, 0, 0, 1), (math.inf, 0, 0, 1)])
def test_what_is_no_rotation_is_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="is no rotation"):
        rotation(numbers)
    with pytest.raises(ValueError, match="is no translation"):
        transform((math.inf, 0, 0), QUARTER)


def test_what_is_not_joined_is_said() -> None:
    frames = robot()
    frames.add("one", "other", np.eye(4))
    frames.add("other", "one", np.eye(4))  # a circle
    for source in ("gps", "one"):
        with pytest.raises(ProjectionRejectedError, match=f"no way from '{source}' to 'camera'"):
            frames.between("camera", source)
    with pytest.raises(ProjectionRejectedError, match="base, camera, lidar, mast, one, other"):
        frames.between("camera", "gps")
