"""Pitch and roll of a camera from the edges of the road."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cameras import CAMERA

from camss_ros.evaluation.street_camera import camera_of
from camss_ros.projection.mount import estimate_mount, road_edges
from camss_ros.projection.transforms import Mount, apply
from camss_ros.street.classes import ROAD
from camss_ros.street.synthetic import SyntheticStreet, ViewShift

LEFT, RIGHT = 2.0, -4.0  # m, where the edges of the road are


def edges_seen(mount: Mount, heading: float, noise: float, rng: np.random.Generator) -> list:
    """The edges of a straight road that lies at an angle to the vehicle, as lines at depth 1."""
    cos, sin = math.cos(heading), math.sin(heading)
    found = []
    for aside in (LEFT, RIGHT):
        near, far = (
            np.array([cos * way - sin * aside, sin * way + cos * aside, 0.0]) for way in (6.0, 30.0)
        )
        x, y, z = apply(mount.vehicle_to_camera(), np.stack([near, far], axis=1))
        x, y = x / z + rng.normal(0, noise, 2), y / z
        slope = (x[1] - x[0]) / (y[1] - y[0])
        found.append((slope, x[0] - slope * y[0]))
    return found


@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (5.0, 2.0), (-10.0, -20.0)])
def test_edges_of_several_headings_give_pitch_and_roll(pitch: float, roll: float) -> None:
    rng = np.random.default_rng(1)
    mount = Mount(1.5, math.radians(pitch), math.radians(roll))
    headings = rng.uniform(-0.3, 0.3, 60)
    found = estimate_mount([edges_seen(mount, heading, 1e-3, rng) for heading in headings])
    assert found.roll is not None
    assert math.degrees(found.pitch) == pytest.approx(pitch, abs=0.1)
    assert math.degrees(found.roll) == pytest.approx(roll, abs=0.3)
    assert 0 < math.degrees(found.pitch_error) < 0.1
    assert abs(found.roll - mount.roll) < 4 * found.roll_error


@pytest.mark.parametrize("headings", [0.3, 0.0])
def test_a_few_frames_may_see_something_else(headings: float) -> None:
    rng = np.random.default_rng(4)
    mount, hill = Mount(1.5, math.radians(4.0)), Mount(1.5, math.radians(20.0))
    frames = [
        edges_seen(mount if i % 10 else hill, rng.uniform(-headings, headings), 1e-3, rng)
        for i in range(60)
    ]
    assert math.degrees(estimate_mount(frames).pitch) == pytest.approx(4.0, abs=0.2)


def test_one_heading_tells_the_pitch_and_says_that_it_does_not_tell_the_roll() -> None:
    rng = np.random.default_rng(2)
    mount = Mount(1.5, math.radians(4.0))
    found = estimate_mount([edges_seen(mount, 0.0, 2e-3, rng) for _ in range(40)])
    assert math.degrees(found.pitch) == pytest.approx(4.0, abs=0.2)
    assert found.roll is None
    assert found.roll_error == math.inf


def test_the_less_sure_it_is_the_larger_the_error() -> None:
    mount = Mount(1.5, 0.05)
    errors = []
    for noise in (1e-3, 1e-2):
        rng = np.random.default_rng(3)
        frames = [edges_seen(mount, 0.0, noise, rng) for _ in range(30)]
        errors.append(estimate_mount(frames).pitch_error)
    assert errors[1] > 3 * errors[0]


def test_an_edge_lies_between_two_pixels() -> None:
    """Of a mask so coarse that a pixel is half a degree."""
    camera = CAMERA.resized(90, 120)
    for pitch in (0.0, 4.0, 8.0):
        mount = Mount(1.5, math.radians(pitch))
        rays = np.concatenate([camera.rays.reshape(2, -1), np.ones((1, 90 * 120))])
        _, left, up = mount.vehicle_to_camera()[:3, :3].T @ rays
        with np.errstate(divide="ignore", invalid="ignore"):
            aside = left * (mount.height / -up)
        road = (up < 0) & (aside < LEFT) & (aside > -LEFT)
        edges = road_edges(road.reshape(90, 120).astype(np.uint8), camera, [1])
        assert len(edges) == 2
        found = math.degrees(estimate_mount([edges] * 3).pitch)
        assert found == pytest.approx(pitch, abs=0.08)


def test_the_street_tells_how_its_camera_is_pitched() -> None:
    street = SyntheticStreet(seed=1, height=240, width=320)
    camera = camera_of(street.camera(0))
    frames = [
        road_edges(street.frame(i, ViewShift(pitch=4.0))[1], camera, [ROAD])
        for i in range(0, 450, 45)
    ]
    found = estimate_mount(frames)
    assert math.degrees(found.pitch) == pytest.approx(4.0, abs=0.4)
    assert found.frames > 6


def test_without_edges_it_says_so() -> None:
    labels = np.zeros((480, 640), np.uint8)
    assert road_edges(labels, CAMERA, [3]) == []
    rng = np.random.default_rng(0)
    assert road_edges(rng.integers(0, 9, (480, 640), np.uint8), CAMERA, [3]) == []
    # an edge that comes nearer as that of a road, but is no line
    rows = np.arange(480)[:, None]
    ragged = np.arange(640) > 500 - rows + rng.uniform(-90, 90, (480, 1))
    assert road_edges(3 * ragged.astype(np.uint8), CAMERA, [3]) == []
    with pytest.raises(ValueError, match="found in 0 frames: expected 3 or more; record"):
        estimate_mount([[], []])
