"""The ground from a label image: what is free, occupied, hidden, and not known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cameras import CAMERA
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.images.label_class import VOID
from camss_ros.images.label_sets import load_label_set
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.grid_memory import GridMemory
from camss_ros.projection.ground import GridLayout, GroundProjector, GroundView, ranges
from camss_ros.projection.ground_classes import GroundClasses, class_ids
from camss_ros.projection.transforms import Mount, apply, transform

ROAD, PAVEMENT, CAR = 0, 1, 13
CLASSES = GroundClasses(19, drivable=(ROAD,), flat=(PAVEMENT,))
LAYOUT = GridLayout(0.0, 12.0, -6.0, 6.0, 0.2)
MOUNT = Mount(1.5, math.radians(3.0), math.radians(1.0))


def scene(to_camera: np.ndarray = MOUNT.vehicle_to_camera()) -> np.ndarray:
    """A road, 6 m wide, between pavements; a car's rear, 1.6 m wide and 1.2 m high, at x = 7."""
    to_vehicle = np.linalg.inv(to_camera)
    place = to_vehicle[:3, 3]
    columns, rows = np.meshgrid(np.arange(640), np.arange(480))
    rays = np.stack([
        (columns - CAMERA.cx) / CAMERA.fx, (rows - CAMERA.cy) / CAMERA.fy, np.ones(rows.shape),
    ]).reshape(3, -1)  # fmt: skip
    rays = to_vehicle[:3, :3] @ rays
    labels = np.full(rays.shape[1], 10, np.uint8)  # sky
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(rays[2] < 0, -place[2] / rays[2], np.nan)
        y = place[1] + rays[1] * ground
        labels[~np.isnan(ground)] = PAVEMENT
        labels[np.abs(y) < 3] = ROAD
        wall = np.where(rays[0] > 0, (7 - place[0]) / rays[0], np.nan)
        y, z = place[1] + rays[1] * wall, place[2] + rays[2] * wall
        labels[(np.abs(y) < 0.8) & (z > 0) & (z < 1.2)] = CAR
    return labels.reshape(480, 640)


@pytest.fixture(scope="module")
def projector() -> GroundProjector:
    return GroundProjector(CAMERA, MOUNT.vehicle_to_camera(), LAYOUT, CLASSES)


def test_a_mount_is_what_it_says() -> None:
    matrix = Mount(1.5, math.radians(10)).vehicle_to_camera()
    ahead = apply(matrix, np.array([[1.5 / math.tan(math.radians(10))], [0.0], [0.0]]))
    np.testing.assert_allclose(ahead[:2, 0], 0, atol=1e-12)
    rolled = apply(Mount(1.0, 0, math.radians(5)).vehicle_to_camera(), np.array([[9.0], [0], [1]]))
    np.testing.assert_allclose(rolled[:, 0], [0, 0, 9], atol=1e-12)
    left = apply(Mount(1.0, 0, math.radians(5)).vehicle_to_camera(), np.array([[9.0], [3], [1]]))
    # What is to the left of a camera that leans to its right is further down in its picture.
    assert left[0, 0] < 0 < left[1, 0]
    turned = Mount(1.0, 0.7, -0.4).vehicle_to_camera()[:3, :3]
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)


def test_cells_begin_at_the_corner_of_the_area() -> None:
    """As nav_msgs/OccupancyGrid has its origin: the middles of cells are half a cell further."""
    layout = GridLayout(-2.0, 0.5, -4.0, -3.0, 0.5)
    x, y = layout.centres()
    assert x.shape == y.shape == layout.shape == (2, 5)
    np.testing.assert_allclose(x[1], [-1.75, -1.25, -0.75, -0.25, 0.25])
    np.testing.assert_allclose(y[:, 4], [-3.75, -3.25])
    assert layout.radius == pytest.approx(math.hypot(2.0, 4.0))


def test_cells_are_as_the_ground_is(projector: GroundProjector) -> None:
    labels = scene()
    view = projector.look(labels, np.full_like(labels, 255))
    x, y = LAYOUT.centres()
    known = view.grid >= 0
    free = view.grid < 50
    truth = (np.abs(y) < 3) & ~((np.abs(y) < 0.8) & (x > 7))
    edge = np.abs(np.abs(y) - 3) < 0.2
    inner = known & ~edge & (np.abs(np.abs(y) - 0.8) > 0.3)
    assert known.sum() > 800
    assert (free == truth)[inner].mean() > 0.995
    # Behind the rear of the car nothing is known, but for the depth that it is taken to have.
    behind = (np.abs(y) < 0.6) & (x > 7.8)
    assert not known[behind].any()
    assert (view.grid[(np.abs(y) < 0.6) & (x > 7.2) & (x < 7.4)] == 100).all()
    assert view.grid.dtype == np.int8


@pytest.mark.parametrize("yaw", [0.0, 60.0, 180.0, -120.0])
def test_a_camera_may_be_anywhere_on_the_vehicle_and_look_anywhere(yaw: float) -> None:
    layout = GridLayout(-12.0, 10.0, -7.0, 9.0, 0.2)
    turn, place = math.radians(yaw) / 2, (0.7, -0.4, 0.0)
    from_mast = transform(place, (0.0, 0.0, math.sin(turn), math.cos(turn)))
    to_camera = MOUNT.vehicle_to_camera() @ np.linalg.inv(from_mast)
    labels = scene(to_camera)
    view = GroundProjector(CAMERA, to_camera, layout, CLASSES).look(
        labels, np.full_like(labels, 255)
    )
    x, y = layout.centres()
    known = view.grid >= 0
    truth = (np.abs(y) < 3) & ~((np.abs(y) < 0.8) & (x > 7))
    inner = known & (np.abs(np.abs(y) - 3) > 0.2) & (np.abs(np.abs(y) - 0.8) > 0.3)
    assert known.sum() > 800
    assert ((view.grid < 50) == truth)[inner].mean() > 0.995
    edge = np.abs(view.obstacles[view.obstacle_labels == PAVEMENT, 1])
    assert np.median(edge) == pytest.approx(3.0, abs=0.05)


def test_cells_that_a_pixel_does_not_resolve_are_unknown(projector: GroundProjector) -> None:
    """A pixel at distance d takes (d2 + h2) / h of an angle of 1 / f."""
    labels = np.full((480, 640), ROAD, np.uint8)
    grid = projector.look(labels, np.full_like(labels, 255)).grid
    x, y = LAYOUT.centres()
    distance = np.hypot(x, y)
    limit = math.sqrt(0.2 * 1.5 * CAMERA.fx - 1.5**2)
    assert (grid[distance > limit] == -1).all()
    assert (grid >= 0).any()
    assert distance[grid >= 0].max() > limit - 0.3


@pytest.mark.parametrize(
    ("label", "confidence", "percent"),
    [(ROAD, 1.0, 0), (ROAD, 0.6, 40), (PAVEMENT, 1.0, 100), (CAR, 0.46, 97), (VOID, 1.0, -1)],
)
def test_a_cell_is_the_expected_occupancy(
    projector: GroundProjector, label: int, confidence: float, percent: int
) -> None:
    labels = np.full((480, 640), label, np.uint8)
    view = projector.look(labels, np.full_like(labels, round(255 * confidence)))
    found = view.grid[view.grid >= 0]
    assert set(found.tolist()) == ({percent} if percent >= 0 else set())


def test_several_drivable_classes_share_what_is_uncertain() -> None:
    table = GroundClasses(5, drivable=(0, 1), flat=()).occupancy
    assert table[0, 51].item() == 60  # 0.2 it is; of 0.8 three of four others are not drivable
    assert table[2, 51].item() == 60  # 0.8 are spread over four, two of them drivable


def test_small_islands_of_free_ground_are_not_believed(projector: GroundProjector) -> None:
    labels = np.full((480, 640), PAVEMENT, np.uint8)
    labels[300:400, 200:400] = ROAD  # from 4 m on
    labels[415:440, 270:340] = ROAD  # 0.4 m to either side
    grid = projector.look(labels, np.full_like(labels, 255)).grid
    x, y = LAYOUT.centres()
    assert (grid == 0).any()
    island = (x > 3.45) & (x < 3.7) & (np.abs(y - 0.1) < 0.2)
    assert island.any()
    assert (grid[island] == -1).all()
    assert x[grid == 0].min() > 4.0


def test_a_small_thing_on_free_ground_is_believed() -> None:
    """Though nothing else in the grid is not free."""
    layout = GridLayout(-0.8, 0.8, -1.0, 1.0, 0.1)
    to_camera = Mount(2.0, math.pi / 2).vehicle_to_camera()
    labels = np.full((480, 640), ROAD, np.uint8)
    labels[220:260, 300:340] = CAR  # 0.15 m
    grid = (
        GroundProjector(CAMERA, to_camera, layout, CLASSES)
        .look(labels, np.full_like(labels, 255))
        .grid
    )
    assert set(grid.reshape(-1).tolist()) == {0, 100}


def test_the_own_vehicle_is_not_seen() -> None:
    ego = np.zeros((480, 640), bool)
    ego[380:] = True
    labels = np.where(ego, CAR, scene()).astype(np.uint8)
    masked = GroundProjector(CAMERA, MOUNT.vehicle_to_camera(), LAYOUT, CLASSES, ego)
    view = masked.look(labels, np.full_like(labels, 255))
    near = LAYOUT.centres()[0] < 3.0
    assert (view.grid[near] == -1).all()
    assert view.obstacles[:, 0].min() > 3.5


def test_the_ground_ends_where_something_stands(projector: GroundProjector) -> None:
    labels = scene()
    view = projector.look(labels, np.full_like(labels, 200))
    middle = np.abs(view.obstacles[:, 1]) < 0.5
    np.testing.assert_allclose(view.obstacles[middle, 0], 7.0, atol=0.15)
    assert set(view.obstacle_labels[middle].tolist()) == {CAR}
    assert set(view.obstacle_confidence.tolist()) == {200}
    edge = (view.obstacles[:, 0] < 5) & (view.obstacle_labels == PAVEMENT)
    np.testing.assert_allclose(np.abs(view.obstacles[edge, 1]), 3.0, atol=0.1)
    # between car and pavement it goes on as far as it is looked at
    x, y = view.free[np.abs(view.free[:, 1] / view.free[:, 0]) < 0.25].T
    assert ((np.abs(y / x) > 0.11) & (x > 11.5)).all()
    assert len(x) > 20


def test_what_stands_right_before_the_vehicle_is_there(projector: GroundProjector) -> None:
    """Its foot is nearer than any ground that is seen."""
    labels = np.full((480, 640), CAR, np.uint8)
    view = projector.look(labels, np.full_like(labels, 255))
    steepest = MOUNT.pitch + math.atan((480 - CAMERA.cy) / CAMERA.fy)
    nearest = MOUNT.height / math.tan(steepest)
    ahead = np.abs(view.obstacles[:, 1] / view.obstacles[:, 0]) < 0.1
    assert ahead.any()
    np.testing.assert_allclose(view.obstacles[ahead, 0], nearest, atol=0.2)


def test_a_virtual_laser_measures_what_stands_and_goes_on_over_free_ground(
    projector: GroundProjector,
) -> None:
    labels = scene()
    count, increment = 361, math.radians(0.5)
    view = projector.look(labels, np.full_like(labels, 255))
    found = ranges(view, count, increment)
    assert found[180] == pytest.approx(7.0, abs=0.15)
    assert np.isnan(found[0])  # 90 degrees to the right: not seen
    road = np.full_like(labels, ROAD)
    free = ranges(projector.look(road, np.full_like(labels, 255)), count, increment)
    assert free[180] == np.inf


def test_every_ray_of_the_laser_has_the_nearest_of_its_direction() -> None:
    """Five rays, half a radian apart: 1 rad to the right to 1 rad to the left."""

    def places(*polar: tuple[float, float]) -> np.ndarray:
        return np.array([(d * math.cos(a), d * math.sin(a)) for d, a in polar], np.float32)

    obstacles = places((4, -1.0), (2, -0.9), (3, -1.2), (5, 1.2), (9, 1.3), (1, -1.3), (6, 0.0))
    view = GroundView(np.zeros((1, 1), np.int8), obstacles, *[np.zeros(7, np.uint8)] * 2,
                      places((8, 0.5), (8, 0.1), (8, 1.3)), (0.0, 0.0), 0.0)  # fmt: skip
    np.testing.assert_allclose(ranges(view, 5, 0.5), [2, np.nan, 6, np.inf, 5], rtol=1e-6)


@pytest.mark.parametrize(("share", "x"), [(1, 0.0), (8, 0.0), (1, -0.5)])
def test_no_ray_of_the_laser_is_left_out(share: int, x: float) -> None:
    """Where pixels are wider than the rays, and where the camera is behind the laser."""
    camera = CAMERA.resized(CAMERA.height // share, CAMERA.width // share)
    to_camera = Mount(1.5, math.radians(20)).vehicle_to_camera()
    to_camera = to_camera @ transform((-x, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    layout = GridLayout(0.0, 9.0, -6.0, 6.0, 0.2)
    labels = np.full((camera.height, camera.width), ROAD, np.uint8)
    labels[: camera.height // 2] = CAR
    view = GroundProjector(camera, to_camera, layout, CLASSES).look(
        labels, np.full_like(labels, 255)
    )
    found = ranges(view, 720, math.radians(0.5))
    seen = np.flatnonzero(~np.isnan(found))
    assert len(seen) > 80
    assert seen[-1] - seen[0] + 1 == len(seen)


def test_a_camera_without_ground_is_refused() -> None:
    for mount, said in ((Mount(-1.0), "-1.00 m above"), (Mount(1.5, -1.0), "sees no cell")):
        with pytest.raises(ProjectionRejectedError, match=said) as raised:
            GroundProjector(CAMERA, mount.vehicle_to_camera(), LAYOUT, CLASSES)
        assert raised.value.reason == "mount"


@pytest.mark.parametrize("pitch", [0.0, 0.6, 1.2, math.pi / 2])
def test_any_pitch_has_its_ground(pitch: float) -> None:
    layout = GridLayout(-8.0, 8.0, -8.0, 8.0, 0.2)
    mount = Mount(2.0, pitch)
    view = GroundProjector(CAMERA, mount.vehicle_to_camera(), layout, CLASSES).look(
        np.full((480, 640), ROAD, np.uint8), np.full((480, 640), 255, np.uint8)
    )
    assert (view.grid == 0).sum() > 50


def test_class_names_are_checked() -> None:
    cityscapes = load_label_set("cityscapes19")
    assert class_ids(["", "road", "car"], cityscapes, "drivable_classes") == [ROAD, CAR]
    with pytest.raises(ValueError, match=r"drivable_classes: 'raod' is no class of cityscapes19"):
        class_ids(["raod"], cityscapes, "drivable_classes")


def test_memory_keeps_what_was_seen_where_it_is() -> None:
    """An obstacle is seen at (4, 1), then the vehicle turns by 90 degrees to the left and moves."""
    layout = GridLayout(-6.0, 6.0, -6.0, 6.0, 0.5)
    memory = GridMemory(layout)
    grid = np.full(layout.shape, -1, np.int8)
    grid[14, 20] = 100  # x = 4.25, y = 1.25
    assert memory.update(grid, 100.1, 50.1, 0.0)[14, 20] == 90
    unknown = np.full(layout.shape, -1, np.int8)
    turned = memory.update(unknown, 101.1, 50.1, math.pi / 2)
    # 3.25 m ahead is to the right now, 1.25 m to the left is ahead
    x, y = layout.centres()
    ((row, column),) = np.argwhere(turned >= 0)
    assert (x[row, column], y[row, column]) == pytest.approx((1.25, -3.25), abs=0.3)


@given(
    x=st.integers(-20, 20), y=st.integers(-20, 20), quarter=st.integers(-2, 2),
    layout=st.sampled_from([LAYOUT, GridLayout(-1.0, 4.0, -0.4, 7.0, 0.1)]), seed=st.integers(0, 9),
)  # fmt: skip
def test_memory_of_one_frame_is_that_frame(
    x: int, y: int, quarter: int, layout: GridLayout, seed: int
) -> None:
    """Also where the middles or edges of cells lie on whole numbers of them, as in the origin."""
    half = layout.resolution / 2
    grid = np.random.default_rng(seed).integers(10, 91, layout.shape).astype(np.int8)
    found = GridMemory(layout).update(grid, x * half, y * half, quarter * math.pi / 2)
    np.testing.assert_allclose(found, grid, atol=1)


@given(x=st.floats(-9, 9), yaw=st.floats(-math.pi, math.pi), seed=st.integers(0, 99))
def test_memory_loses_no_obstacle_of_a_cell_whatever_the_heading(
    x: float, yaw: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grid = np.zeros(LAYOUT.shape, np.int8)
    cell = tuple(rng.integers(LAYOUT.shape))
    grid[cell] = 100
    assert GridMemory(LAYOUT).update(grid, x, 1.0, yaw)[cell] == 90


@given(
    ways=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_memory_of_several_places_is_that_of_each_cell_of_the_ground(
    ways: list[tuple[int, int]], seed: int
) -> None:
    layout = GridLayout(-4.0, 4.0, -4.0, 4.0, 0.5)
    memory, rng = GridMemory(layout), np.random.default_rng(seed)
    odds = np.full((22, 22), np.nan)  # of the cells that any of the frames shows
    for right, up in ways:
        grid = rng.choice(np.array([-1, -1, 0, 20, 80, 100], np.int8), layout.shape)
        part = odds[3 + up :, 3 + right :][:16, :16]
        share = np.clip(grid / 100, 0.1, 0.9)
        seen = np.clip(np.nan_to_num(part) + np.log(share / (1 - share)), *np.log([1 / 49, 49]))
        part[grid >= 0] = seen[grid >= 0]
        expected = np.nan_to_num(np.round(100 / (1 + np.exp(-part))), nan=-1)
        found = memory.update(grid, 0.5 * right, 0.5 * up, 0.0)
        np.testing.assert_allclose(found, expected, atol=1)


@pytest.mark.parametrize("step", [3.0, 15.0, 1000.0])
@pytest.mark.parametrize("towards", [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1)])
def test_memory_forgets_what_is_far_behind(step: float, towards: tuple[int, int]) -> None:
    layout = GridLayout(0.0, 4.0, -2.0, 2.0, 0.5)
    memory = GridMemory(layout)
    full, unknown = np.full(layout.shape, 100, np.int8), np.full(layout.shape, -1, np.int8)
    assert (memory.update(full, 0.0, 0.0, 0.3) == 90).all()
    x, y = step * np.array(towards)
    for way in (1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0):
        found = memory.update(unknown, way * x, way * y, 0.3)
    assert (found == -1).all()
