"""Projection of every distortion model against OpenCV's, and what is not calibrated."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from cameras import CAMERA, DISTORTIONS, calibration
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.projection.camera_model import EQUIDISTANT, NO_DISTORTION, CameraModel
from camss_ros.projection.errors import ProjectionRejectedError

every_model = pytest.mark.parametrize("model", DISTORTIONS)


def points_in_view(seed: int = 0) -> np.ndarray:
    """float64 [3, 500], within 40 degrees of the axis."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 60, 500)
    return np.stack([*(rng.uniform(-0.75, 0.75, (2, 500)) * depth), depth])


def opencv_pixels(model: str, points: np.ndarray) -> np.ndarray:
    """[2, N] of OpenCV's own projection."""
    info = calibration(model)
    matrix, none = np.array(info.k, float).reshape(3, 3), np.zeros(3)
    if model == "equidistant":
        spread = points.T[:, None]
        found, _ = cv2.fisheye.projectPoints(spread, none, none, matrix, np.array(info.d))
    else:
        found, _ = cv2.projectPoints(points.T, none, none, matrix, np.array(info.d or (0.0,) * 4))
    return found.reshape(-1, 2).T


@every_model
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_projection_is_opencvs(model: str, kind: type) -> None:
    points = points_in_view()
    camera = CameraModel.from_message(calibration(model))
    ours = np.stack(camera.project(points.astype(kind)))
    assert ours.dtype == kind
    np.testing.assert_allclose(ours, opencv_pixels(model, points), atol=2e-3)


@every_model
def test_rays_lead_back_to_their_pixels(model: str) -> None:
    camera = CameraModel.from_message(calibration(model))
    rays = camera.rays
    assert rays.shape == (2, 480, 640)
    seen = ~np.isnan(rays[0])
    assert seen.mean() > (0.8 if model == "equidistant" else 0.95)
    u, v = camera.project(np.stack([rays[0], rays[1], np.ones_like(rays[0])])[:, seen])
    rows, columns = np.nonzero(seen)
    np.testing.assert_allclose(u, columns, atol=0.11)
    np.testing.assert_allclose(v, rows, atol=0.11)


@pytest.mark.parametrize("place", range(8))
def test_each_coefficient_alone_is_opencvs(place: int) -> None:
    d = [0.05 * (i == place) for i in range(8)]
    info = calibration("rational_polynomial", d=(*d, 0.0, 0.0, 0.0, 0.0))  # no thin prism
    points = points_in_view()
    expected, _ = cv2.projectPoints(
        points.T, np.zeros(3), np.zeros(3), np.array(info.k, float).reshape(3, 3), np.array(d)
    )
    found = np.stack(CameraModel.from_message(info).project(points))
    np.testing.assert_allclose(found, expected.reshape(-1, 2).T, atol=1e-6)


def test_a_hand_worked_point() -> None:
    """x / z = 0.5, y / z = -0.25 with k1 = 0.1, p1 = 0.01: r2 = 0.3125, radial 1.03125."""
    camera = CameraModel.from_message(calibration("plumb_bob", d=(0.1, 0.0, 0.01, 0.0, 0.0)))
    u, v = camera.project(np.array([[1.0], [-0.5], [2.0]]))
    x = 0.5 * 1.03125 + 2 * 0.01 * 0.5 * -0.25
    y = -0.25 * 1.03125 + 0.01 * (0.3125 + 2 * 0.0625)
    assert (u[0], v[0]) == pytest.approx((525 * x + 319, 520 * y + 241))


def test_what_a_camera_does_not_see_has_no_pixel() -> None:
    camera = CameraModel.from_message(calibration("plumb_bob"))
    points = np.array([[0, 0, 9], [0, 0, -5], [0, 0, 0], [np.nan, 0, 3], [100.0, 0, 10]]).T
    seen, pixels = camera.pixels(points)
    assert seen.tolist() == [0]
    assert pixels.tolist() == [241 * 640 + 319]


def test_a_pixel_reaches_half_a_pixel_to_either_side() -> None:
    camera = CameraModel(height=4, width=6, fx=1.0, fy=1.0, cx=0.0, cy=0.0)
    points = np.array([[-0.5, -0.5, 1], [5.49, 3.49, 1], [5.5, 0, 1], [0, 3.5, 1], [0, -0.51, 1]]).T
    seen, pixels = camera.pixels(points)
    assert (seen.tolist(), pixels.tolist()) == ([0, 1], [0, 23])


@every_model
@pytest.mark.parametrize(
    "part",
    [{"height": 8, "cy": 3.5}, {"width": 500, "cx": -40.0, "cy": 500.0}, {"height": 90, "cx": 700},
     {"fx": 150.0, "fy": 150.0}],
)  # fmt: skip
def test_a_part_of_an_image_shows_all_that_falls_into_it(model: str, part: dict) -> None:
    """Of any shape, the axis in it or beside it."""
    camera = replace(CameraModel.from_message(calibration(model)), **part)
    points = np.random.default_rng(0).normal(size=(3, 100_000)) * [[1.0], [0.7], [1.0]]
    columns, rows = camera.project(points)
    inside = (np.abs(columns + 0.5 - camera.width / 2) < camera.width / 2) & (
        np.abs(rows + 0.5 - camera.height / 2) < camera.height / 2
    )
    assert inside.sum() > 100
    assert np.array_equal(camera.pixels(points)[0], np.flatnonzero(inside))


def test_a_polynomial_does_not_fold_points_back_into_the_image() -> None:
    """With k1 = -0.28 OpenCV draws a point 70 degrees off the axis into the picture."""
    point = np.array([[2.7], [0.0], [1.0]])
    info = calibration("plumb_bob", d=(-0.28, 0.0, 0.0, 0.0, 0.0))
    folded, _ = cv2.projectPoints(
        point.T, np.zeros(3), np.zeros(3), np.array(info.k, float).reshape(3, 3), np.array(info.d)
    )
    assert folded[0, 0, 0] < 640
    camera = CameraModel.from_message(info)
    assert len(camera.pixels(point)[0]) == 0


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_a_wide_lens_is_followed_up_to_where_it_folds(model: str) -> None:
    """Its image is r (1 + k1 r2), which is largest at 1 / sqrt(-3 k1), r a radius or an angle."""
    camera = CameraModel.from_message(calibration(model, d=(-0.32, 0.0, 0.0, 0.0)))
    limits = 1 / np.sqrt(3 * 0.32) + np.array([-5e-4, 5e-4])
    radii = limits if model == "plumb_bob" else np.tan(limits)
    u, _ = camera.project(np.stack([radii, 0 * radii, 0 * radii + 1]))
    assert np.isnan(u).tolist() == [False, True]


def test_every_pixel_of_a_wide_lens_has_a_ray() -> None:
    distortion = (-0.3434, 0.0544, 3e-4, 1e-4, 0.0068, 0.0, 0.0, 0.0)
    wide = replace(CAMERA, fx=197.0, fy=197.0, distortion=distortion)
    assert not np.isnan(wide.rays).any()


def test_every_pixel_of_a_stereographic_fisheye_has_a_ray_up_to_ninety_degrees() -> None:
    """Its image is 2 tan(angle / 2), larger than a right angle from 76 degrees on."""
    distortion = (1 / 12, 1 / 120, 17 / 20160, 31 / 362880)  # of its series
    camera = CameraModel(400, 400, 100.0, 100.0, 199.5, 199.5, EQUIDISTANT, distortion)
    rows, columns = np.mgrid[:400, :400]
    radius = np.hypot(columns - 199.5, rows - 199.5) / 100
    x, y = camera.rays
    seen = radius < 1.99  # 2 at ninety degrees
    assert not np.isnan(x[seen]).any()
    assert np.isnan(x[radius > 2]).all()
    angles = 2 * np.arctan(radius[seen] / 2)
    np.testing.assert_allclose(np.arctan(np.hypot(x, y)[seen]), angles, atol=2e-3)


def test_pixels_beyond_the_image_of_a_lens_have_no_ray() -> None:
    """That is a circle: r (1 - 0.32 r2) is 0.68 at most."""
    camera = replace(CAMERA, fx=200.0, fy=200.0, distortion=(-0.32, *NO_DISTORTION[1:]))
    rows, columns = np.mgrid[:480, :640]
    radius = np.hypot(columns - CAMERA.cx, rows - CAMERA.cy) / 200
    blind = np.isnan(camera.rays[0])
    assert blind[radius > 0.69].all()
    assert not blind[radius < 0.65].any()


def test_a_fisheye_sees_behind_ninety_degrees() -> None:
    camera = CameraModel.from_message(calibration("equidistant", d=(0.0,) * 4))
    u, v = camera.project(np.array([[1.0, 0.0], [0.0, 0.0], [-0.1, -1.0]]))
    assert u[0] == pytest.approx(319 + 300 * (np.pi / 2 + np.arctan(0.1)))
    assert np.isnan(u[1])
    assert np.isnan(v[1])


def test_binning_and_region_of_interest_are_those_of_the_image() -> None:
    roi = SimpleNamespace(x_offset=100, y_offset=40, height=400, width=320)
    camera = CameraModel.from_message(calibration(binning_x=2, binning_y=4, roi=roi))
    assert (camera.height, camera.width) == (100, 160)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (262.5, 130.0, 109.5, 50.25)


def test_a_resized_image_has_its_pixels_where_the_segmenter_says() -> None:
    camera = CameraModel.from_message(calibration()).resized(240, 160)
    assert (camera.height, camera.width) == (240, 160)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (131.25, 260.0, 79.75, 120.5)


def test_rectified_images_are_projected_by_p() -> None:
    camera = CameraModel.from_message(calibration("plumb_bob"), rectified=True)
    u, v = camera.project(np.array([[1.0], [1.0], [2.0]]))
    assert (u[0], v[0]) == (570.0, 490.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"k": [0.0, 0, 319, 0, 520, 241, 0, 0, 1]}, "not calibrated"),
        ({"k": [525.0, 0, 319, 0, 0, 241, 0, 0, 1]}, "not calibrated"),
        ({"k": [np.nan] * 9}, "damaged"),
        ({"d": (np.inf,) * 5, "distortion_model": "plumb_bob"}, "damaged"),
        ({"distortion_model": "thin_prism"}, "plumb_bob, rational_polynomial, equidistant"),
        ({"distortion_model": "rational_polynomial", "d": (0.1,) * 12}, "rectify"),
        ({"width": 0}, "no size"),
    ],
)
def test_what_is_no_calibration_is_said(changed: dict, said: str) -> None:
    with pytest.raises(ProjectionRejectedError, match=said) as raised:
        CameraModel.from_message(calibration(**changed))
    assert raised.value.reason == "calibration"


@given(
    d=st.lists(st.floats(-1, 1), max_size=8),
    model=st.sampled_from(["plumb_bob", "rational_polynomial"]),
)
def test_no_distortion_makes_pixels_beside_the_image(d: list[float], model: str) -> None:
    camera = CameraModel.from_message(calibration(model, d=d))
    seen, pixels = camera.pixels(points_in_view(1))
    assert len(seen) == len(pixels)
    assert ((pixels >= 0) & (pixels < 640 * 480)).all()
