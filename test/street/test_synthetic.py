"""The procedural street: reproducible pictures whose labels fit them."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camss_ros.street.buildings import line_street
from camss_ros.street.camera import SceneCamera
from camss_ros.street.chunk import CHUNK, Chunk, Roadside, Solid
from camss_ros.street.depth import DepthPicture
from camss_ros.street.faces import Target, fill, project
from camss_ros.street.furniture import plant_tree
from camss_ros.street.light import draw_sky, make_atmosphere
from camss_ros.street.mesh import Mesh
from camss_ros.street.road import KERB, RIGHT, SIDES, Road
from camss_ros.street.synthetic import FRAME_RATE, SyntheticStreet, random_scene
from camss_ros.street.traffic import Traffic
from camss_ros.street.vehicles import bus

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
VOID = 255
CLASSES = {*range(11), VOID}


@pytest.mark.parametrize("variant", ["day", "dusk", "fog"])
def test_same_seed_gives_the_same_frame_in_any_order(variant):
    first = SyntheticStreet(3, variant, 96, 128)
    forwards = [first.frame(i) for i in range(3)]
    second = SyntheticStreet(3, variant, 96, 128)
    second.frame(400)
    for i in (2, 0, 1):
        image, label = second.frame(i)
        np.testing.assert_array_equal(image, forwards[i][0])
        np.testing.assert_array_equal(label, forwards[i][1])


def test_seeds_variants_and_frames_differ():
    images = [
        SyntheticStreet(seed, variant, 96, 128).frame(i)[0].tobytes()
        for seed, variant, i in ((0, "day", 0), (1, "day", 0), (0, "dusk", 0), (0, "day", 9))
    ]
    assert len(set(images)) == len(images)


def test_every_class_appears():
    seen = set()
    for seed in range(60):
        seen |= set(np.unique(random_scene(seed, 120, 160)[1]).tolist())
        if seen >= set(range(11)):
            return
    pytest.fail(f"classes {set(range(11)) - seen} did not appear in 60 scenes")


def test_a_drive_shows_most_classes():
    street = SyntheticStreet(0, height=180, width=240)
    labels = np.stack([street.frame(i)[1] for i in range(0, 300, 20)])
    assert set(np.unique(labels).tolist()) >= {SKY, BUILDING, ROAD, PAVEMENT, CAR, PEDESTRIAN, POLE}


@pytest.mark.parametrize("variant", ["day", "dusk", "fog"])
def test_road_lies_below_and_sky_above(variant):
    street = SyntheticStreet(5, variant)
    for i in (0, 150, 300):
        _, label = street.frame(i)
        rows = np.arange(label.shape[0])[:, None] * np.ones_like(label, dtype=float)
        assert (label[-40:, 160:320] == ROAD).mean() > 0.5
        assert rows[label == ROAD].min() > 150
        assert rows[label == SKY].max() < 200
        assert rows[label == PAVEMENT].mean() > 180


def test_labels_fit_the_picture_at_edges():
    """Most label borders lie on picture edges: far more than the same borders moved aside."""
    ratios = []
    for seed in range(3):
        image, label = SyntheticStreet(seed).frame(30)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        edge = cv2.magnitude(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
        border = (label[:, 1:] != label[:, :-1])[:, 20:-20]
        strength = edge[:, 20:-21]
        moved = np.roll(border, 9, axis=1)
        ratios.append(strength[border].mean() / strength[moved].mean())
    assert np.mean(ratios) > 1.4


def test_classes_have_their_colours_by_day():
    image, label = SyntheticStreet(0).frame(0)
    brightness = image.astype(float).mean(axis=2)
    assert brightness[label == SKY].mean() > brightness[label == ROAD].mean() + 20
    road = image[label == ROAD].astype(float)
    assert np.ptp(road.mean(axis=0)) < 25  # asphalt is grey


def test_fog_hides_what_is_far():
    clear = SyntheticStreet(1, "day").frame(0)[0]
    foggy = SyntheticStreet(1, "fog").frame(0)[0]
    band = slice(140, 190)
    assert foggy[band].astype(float).std() < clear[band].astype(float).std()


def test_camera_moves_steadily():
    """Consecutive frames are alike, distant ones are not."""
    street = SyntheticStreet(2, height=180, width=240)
    _, now = street.frame(100)
    _, soon = street.frame(101)
    _, later = street.frame(100 + int(4 * FRAME_RATE))
    assert (now == soon).mean() > 0.8
    assert (now == later).mean() < (now == soon).mean() - 0.05


def test_point_on_the_axis_projects_to_the_middle_and_height_shrinks_with_depth():
    camera = SceneCamera(0, 1.5, 0, 0, 0, 0, focal=400, height=301, width=401)
    points = np.array([[0, 1.5, 10], [0, 0, 10], [0, 0, 20], [1, 1.5, 10.0]])
    pixels = camera.to_pixels(camera.to_camera(points))
    np.testing.assert_allclose(pixels, [[200, 150], [200, 210], [200, 180], [240, 150]])
    assert camera.horizon == 150


def test_plane_homography_agrees_with_projection():
    camera = SceneCamera(1, 1.4, 5, 0.1, 0.05, 0.02, focal=300, height=200, width=300)
    origin, u, v = np.array([-3.0, 0, 12]), np.array([4.0, 0, 1]), np.array([0, 2.5, 0])
    matrix = camera.plane_homography(origin, u, v)
    for a, b in ((0, 0), (1, 0), (0.3, 0.8)):
        x, y, w = matrix @ (a, b, 1)
        expected = camera.to_pixels(camera.to_camera((origin + a * u + b * v)[None]))[0]
        np.testing.assert_allclose((x / w, y / w), expected)


@pytest.mark.parametrize("roll", [-0.05, 0.0, 0.05])
def test_the_sky_leans_with_the_horizon(roll):
    camera = SceneCamera(0, 1.4, 0, 0, 0.02, roll, focal=450, height=360, width=480)
    edge = math.radians(5)  # of what is light, above the horizon
    sky = np.full((240, 800, 3), 255, np.uint8)
    sky[round(239 - math.degrees(edge) / 60 * 240) :] = 0
    atmosphere = make_atmosphere("day", np.random.default_rng(0))
    image = np.zeros((360, 480, 3), np.uint8)
    draw_sky(image, camera, replace(atmosphere, sky=sky))
    bearings = np.linspace(-0.4, 0.4, 9)
    away = np.stack([np.sin(bearings), np.full(9, math.tan(edge)), np.cos(bearings)], axis=1)
    columns, rows = camera.to_pixels(camera.to_camera(1e6 * away + camera.position)).T
    found = [(image[:, round(column), 0] > 127).sum() for column in columns]
    np.testing.assert_allclose(found, rows, atol=4)


def depth_of(mesh, camera):
    """float32 [H, W], of a mesh alone; NaN around it."""
    height, width = camera.height, camera.width
    depth = DepthPicture(height, width)
    larger = replace(camera, focal=2 * camera.focal, height=2 * height, width=2 * width)
    image, label = (
        np.zeros((2 * height, 2 * width, 3), np.uint8),
        np.zeros((height, width), np.uint8),
    )
    target = Target(image, label, larger, [], depth)
    faces = project(mesh, target, make_atmosphere("day", np.random.default_rng(0)))
    fill(target, faces, 0, len(faces.large))
    return depth.metres(camera)


def test_the_load_of_a_lorry_hides_its_cab():
    camera = SceneCamera(0, 1.4, -20, 0, 0, 0, focal=450, height=360, width=480)
    back = depth_of(bus(1), camera)[130:195, 210:270]
    assert back == pytest.approx(np.full_like(back, 16.0), abs=0.05)
    front = depth_of(bus(1).placed(0, 0, 0, math.pi), camera)[155:195, 210:270]
    assert front == pytest.approx(np.full_like(front, 16.0), abs=0.05)


@pytest.mark.parametrize(("seed", "i"), [(2, 230), (9, 130), (10, 130)])
def test_what_stands_behind_a_parked_car_does_not_cover_it(seed, i):
    street = SyntheticStreet(seed, height=180, width=240)
    camera, depth = street.camera(i), street.frame_with_depth(i)[2]
    first = int(camera.z // CHUNK)
    items = [item for ahead in range(4) for item in street.street.chunk(first + ahead).items]
    cars = [item for item in items if isinstance(item, Solid) and CAR in item.mesh.labels]
    cars.sort(key=lambda item: -item.z)
    alone = depth_of(Mesh.joined([item.mesh for item in cars]), camera)
    assert (~np.isnan(alone)).sum() > 1000
    assert not (depth > alone + 1).any()


@pytest.mark.parametrize(("seed", "i"), [(2, 130), (6, 130), (9, 130)])
def test_what_stands_behind_a_pavement_does_not_cover_it(seed, i):
    street = SyntheticStreet(seed, height=180, width=240)
    camera, (_, label, depth) = street.camera(i), street.frame_with_depth(i)
    rows, columns = np.mgrid[:180, :240]
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=2)
    rays = pixels @ np.linalg.inv(camera.intrinsics).T @ camera.rotation
    pavement = (KERB - camera.y) / rays[..., 1]
    x, _, z = np.moveaxis(camera.position + pavement[..., None] * rays, 2, 0)
    road, margin = street.street.road, 0.15  # m
    offset = x - np.vectorize(road.centre)(z)
    on_it = np.zeros(label.shape, bool)
    for side in SIDES:
        on_it |= (side * offset > road.kerb[side]) & (side * offset < road.edge[side] - margin)
    on_it &= (pavement > 0) & (pavement < CHUNK) & (label != POLE)  # poles have round ends
    assert on_it.sum() > 2000
    assert (depth > pavement + 0.1)[on_it].mean() < 0.005


def test_a_tree_on_a_pavement_stands_on_it():
    chunk = Chunk(Road(0))
    here = Roadside(chunk, RIGHT, np.random.default_rng(0))
    plant_tree(here, here.kerb + 0.7)
    assert chunk.items[0].mesh.vertices[:, 1].min() == pytest.approx(KERB)


def test_who_crosses_the_road_stands_on_the_pavement_beside_it():
    road = Road(0, density=0, crossing=True)
    people = Traffic(road).at(0.0, 0.0, 50.0).items
    feet = [item.mesh.vertices[:, 1].min() for item in people]
    beside = [abs(item.mesh.vertices[:, 0].mean() - road.centre(item.z)) > 4 for item in people]
    assert sorted(beside) == [False, True]
    assert [foot > KERB for foot in feet] == beside


def test_the_near_gable_of_a_house_hides_the_far_one():
    road = Road(0)
    chunk = Chunk(road)
    here = Roadside(chunk, RIGHT, np.random.default_rng(0))
    line_street(here, "houses", junction=False, opens=True)
    house = next(item for item in chunk.items if isinstance(item, Solid))
    x = road.centre(house.z)
    camera = SceneCamera(x, 1.4, house.z - 20, 0, 0, 0, focal=300, height=360, width=480)
    depth = depth_of(house.mesh, camera)
    assert (~np.isnan(depth)).sum() > 1000
    assert depth[~np.isnan(depth)] == pytest.approx(20.0, abs=0.1)


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    height=st.integers(16, 150),
    width=st.integers(16, 200),
)
def test_random_scene_of_any_size(seed, height, width):
    image, label = random_scene(seed, height, width)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert label.shape == (height, width)
    assert label.dtype == np.uint8
    assert set(np.unique(label).tolist()) <= CLASSES
    again = random_scene(seed, height, width)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(label, again[1])


@settings(max_examples=6, deadline=None)
@given(i=st.integers(0, 10**6), variant=st.sampled_from(["day", "dusk", "fog"]))
def test_any_frame_of_an_endless_drive(i, variant):
    image, label = SyntheticStreet(7, variant, 64, 96).frame(i)
    assert image.std() > 5
    assert set(np.unique(label).tolist()) <= CLASSES
    assert (label == ROAD).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "night"}, "night.*day, dusk, fog"),
        ({"height": 8}, "8 x 480"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticStreet(**arguments)


def test_negative_frame_is_refused():
    with pytest.raises(IndexError, match="-1"):
        SyntheticStreet(height=32, width=32).frame(-1)
