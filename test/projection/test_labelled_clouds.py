"""Labels of pixels on the points of depth images and of a lidar."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cameras import CAMERA

from camss_ros.images.label_class import VOID
from camss_ros.projection.camera_model import EQUIDISTANT, CameraModel
from camss_ros.projection.depth_cloud import (
    POINT,
    DepthProjector,
    dense_cloud,
    depth_in_metres,
    labels_to_publish,
    organised_cloud,
)
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.labelling import View, label_points
from camss_ros.projection.point_cloud import packed_rgb
from camss_ros.projection.transforms import transform

COLORS = packed_rgb(np.arange(768, dtype=np.uint8).reshape(256, 3))
SMALL = CameraModel(height=4, width=6, fx=5.0, fy=4.0, cx=2.5, cy=1.5)


def depth_message(values: np.ndarray, encoding: str, /, **changed: Any) -> Any:
    fields = {
        "height": len(values), "width": values.shape[1], "encoding": encoding,
        "is_bigendian": values.dtype.byteorder == ">", "step": values.strides[0],
        "data": values.tobytes(),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changed})


@pytest.mark.parametrize(
    ("encoding", "kind", "unit"),
    [
        ("16UC1", "<u2", 1000),
        ("mono16", ">u2", 1000),
        ("32FC1", "<f4", 1),
        ("32FC1", ">f4", 1),
    ],
)
def test_depth_is_read_in_metres(encoding: str, kind: str, unit: int) -> None:
    values = (np.array([[0, 1, 2.5], [60, 0.5, 7]]) * unit).astype(kind)
    expected = [[np.nan, 1, 2.5], [60, 0.5, 7]]
    metres = depth_in_metres(depth_message(values, encoding))
    np.testing.assert_allclose(metres, expected, rtol=1e-6)
    wide = np.append(values, values, axis=1).astype(kind)  # the second half of each row is padding
    padded = depth_message(values, encoding, step=wide.strides[0], data=wide.tobytes())
    np.testing.assert_allclose(depth_in_metres(padded), expected, rtol=1e-6)


def test_depth_that_is_none_is_nan() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, -1, 0, 2]], np.float32)
    metres = depth_in_metres(depth_message(values, "32FC1"))
    assert np.isnan(metres[0, :5]).all()
    assert metres[0, 5] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"encoding": "rgb8"},
        {"height": 0},
        {"width": 0},
        {"step": 5},
        {"data": b"12"},
        {"encoding": "32FC1"},
    ],
)
def test_what_is_no_depth_image_is_said(changed: dict) -> None:
    with pytest.raises(ProjectionRejectedError) as raised:
        depth_in_metres(depth_message(np.ones((2, 3), "<u2"), "16UC1", **changed))
    assert raised.value.reason == "depth"


def filled(projector: DepthProjector, labels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    points = np.zeros(labels.shape, POINT)
    projector.fill(points, labels, 255 - labels, depth)
    return points


def test_every_pixel_is_a_point_in_its_place() -> None:
    labels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    depth = np.linspace(1, 5, 24, dtype=np.float32).reshape(4, 6)
    depth[2, 3] = np.nan
    points = filled(DepthProjector(SMALL, SMALL, COLORS), labels, depth)
    for v in range(4):
        for u in range(6):
            point, z = points[v, u], depth[v, u]
            expected = [(u - 2.5) / 5 * z, (v - 1.5) / 4 * z, z]
            np.testing.assert_allclose(list(point)[:3], expected, rtol=1e-6)
            assert (point["label"], point["confidence"]) == (6 * v + u, 255 - 6 * v - u)
            bits = int(np.float32(point["rgb"]).view(np.uint32))
            assert bits == (18 * v + 3 * u) << 16 | (18 * v + 3 * u + 1) << 8 | 18 * v + 3 * u + 2
    places = np.stack([points[name].reshape(-1) for name in "xyz"])
    organised, dense = organised_cloud(points), dense_cloud(points)
    assert not organised.is_dense
    np.testing.assert_array_equal(organised.points(), places)
    assert (dense.data.shape, dense.is_dense) == ((1, 23, 20), True)
    np.testing.assert_array_equal(dense.points(), places[:, ~np.isnan(places[2])])


def test_a_pixel_that_sees_nothing_ahead_has_no_depth() -> None:
    """A fisheye whose corners look sideways and back."""
    camera = CameraModel(60, 80, 20.0, 20.0, 39.5, 29.5, EQUIDISTANT, (0.0,) * 4)
    labels, depth = np.zeros((60, 80), np.uint8), np.ones((60, 80), np.float32)
    points = filled(DepthProjector(camera, camera, COLORS), labels, depth)
    blind = np.isnan(points["x"])
    assert 0.1 < blind.mean() < 0.9
    np.testing.assert_array_equal(np.isnan(points["z"]), blind)
    assert np.isfinite(dense_cloud(points).points()).all()


def test_depth_of_another_size_is_found_by_its_own_calibration() -> None:
    """A depth camera of half the size, cropped by a column, that sees planes at 2 and 4 m."""
    depth_camera = CameraModel(height=240, width=319, fx=262.5, fy=260.0, cx=158.5, cy=120.0)
    depth = np.full((240, 319), 2, np.float32)
    depth[:, 200:] = 4
    labels = np.zeros((480, 640), np.uint8)
    points = filled(DepthProjector(CAMERA, depth_camera, COLORS), labels, depth)
    u = (np.arange(640) - CAMERA.cx) / CAMERA.fx * 262.5 + 158.5
    expected = np.where(u < 199.5, 2.0, 4.0)
    expected[(u < -0.5) | (u >= 318.5)] = np.nan
    np.testing.assert_array_equal(points["z"][240], expected)


def test_a_filtered_cloud_has_the_classes_that_are_kept_and_not_those_dropped() -> None:
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    camera = CameraModel(height=1, width=4, fx=1.0, fy=1.0, cx=0.0, cy=0.0)
    points = filled(DepthProjector(camera, camera, COLORS), labels, np.ones((1, 4), np.float32))
    for drop, keep, left in (
        ([1], [], [0, 2, 255]),
        ([], [1, 2], [1, 2]),
        ([2], [1, 2], [1]),
        ([], [], [0, 1, 2, 255]),
    ):
        cloud = dense_cloud(points, labels_to_publish(drop, keep))
        assert cloud.values("label")[0].tolist() == left


def view(label: int, confidence: int, x: float = 0.0, turned: bool = False) -> View:
    """A camera at (x, 0, 0) that looks along z, or along -z, all of one label."""
    matrix = transform((0, 0, 0), (0, 1, 0, 0) if turned else (0, 0, 0, 1))
    matrix[:3, 3] = -matrix[:3, :3] @ (x, 0.0, 0.0)
    shape = (CAMERA.height, CAMERA.width)
    return View(
        CAMERA, matrix, np.full(shape, label, np.uint8), np.full(shape, confidence, np.uint8)
    )


def test_the_surest_camera_labels_a_point_that_several_see() -> None:
    points = np.array([[0, 0, 5.0], [1, 0, 5], [0, 0, -5], [50, 0, 1], [np.nan, 0, 5]]).T
    views = [view(3, 100), view(4, 200, x=0.2), view(5, 200), view(6, 90, turned=True)]
    labels, confidence = label_points(points, views)
    assert labels.tolist() == [4, 4, 6, VOID, VOID]
    assert confidence.tolist() == [200, 200, 90, 0, 0]
    labels, confidence = label_points(points, reversed(views))
    assert labels.tolist()[:2] == [5, 5]  # the first of equally sure ones


def test_void_leaves_a_point_to_the_other_camera() -> None:
    points = np.array([[0.0], [0.0], [5.0]])
    labels, confidence = label_points(points, [view(VOID, 250), view(2, 0)])
    assert (labels.tolist(), confidence.tolist()) == ([2], [0])


def test_a_point_gets_the_label_of_the_pixel_that_it_falls_on() -> None:
    rng = np.random.default_rng(3)
    mask = rng.integers(0, 19, (480, 640), np.uint8)
    seen = View(CAMERA, np.eye(4), mask, np.full_like(mask, 9))
    u, v = rng.integers(0, 640, 200), rng.integers(0, 480, 200)
    z = rng.uniform(1, 80, 200)
    points = np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z])
    labels, _ = label_points(points.astype(np.float32), [seen])
    np.testing.assert_array_equal(labels, mask[v, u])
