"""What is made of the synthetic street's true masks, against the street itself."""

from __future__ import annotations

import numpy as np
import pytest

from camss_ros.evaluation.street_camera import camera_of, mount_of
from camss_ros.images.label_class import VOID
from camss_ros.projection.depth_cloud import POINT, DepthProjector
from camss_ros.projection.ground import GridLayout, GroundProjector
from camss_ros.projection.ground_classes import GroundClasses
from camss_ros.projection.point_cloud import packed_rgb
from camss_ros.street.classes import PAVEMENT, ROAD
from camss_ros.street.plan import ground_plan
from camss_ros.street.synthetic import SyntheticStreet

CLASSES = GroundClasses(11, drivable=(ROAD,), flat=(PAVEMENT,))
LAYOUT = GridLayout(0.0, 15.0, -8.0, 8.0, 0.2)


@pytest.mark.parametrize("seed", [0, 3])
def test_points_have_the_label_and_the_place_of_the_scene(seed: int) -> None:
    street = SyntheticStreet(seed=seed)
    camera = street.camera(30)
    _, labels, depth = street.frame_with_depth(30)
    model = camera_of(camera)
    points = np.zeros(labels.shape, POINT)
    colors = packed_rgb(np.zeros((256, 3), np.uint8))
    DepthProjector(model, model, colors).fill(points, labels, labels, depth)
    known = ~np.isnan(points["z"])
    assert known.mean() > 0.6
    xyz = np.stack([points[name][known] for name in "xyz"], axis=1).astype(np.float64)
    # The street's own camera looks at the points again.
    columns, rows = np.round(camera.to_pixels(xyz)).astype(int).T
    assert (points["label"][known] == labels[rows, columns]).mean() >= 0.995
    world = xyz @ camera.rotation + camera.position
    found, distance = points["label"][known], np.linalg.norm(xyz, axis=1)
    # The road is the plane y = 0; pavements lie 0.12 m above it, kerbs in between.
    error = np.abs(world[found == ROAD, 1])
    assert (error <= 0.01 + 0.01 * distance[found == ROAD]).all()
    error = np.abs(world[found == PAVEMENT, 1] - 0.06) - 0.06
    assert (error <= 0.01 + 0.01 * distance[found == PAVEMENT]).all()


def test_the_grid_agrees_with_the_ground_plan() -> None:
    agree, cells, drivable = 0, 0, 0
    for seed, i in ((0, 60), (2, 40), (3, 80), (4, 10)):
        street = SyntheticStreet(seed=seed, height=720, width=960)
        camera = street.camera(i)
        _, labels = street.frame(i)
        projector = GroundProjector(
            camera_of(camera), mount_of(camera).vehicle_to_camera(), LAYOUT, CLASSES
        )  # fmt: skip
        grid = projector.look(labels, np.full_like(labels, 255)).grid
        plan = ground_plan(street, i, LAYOUT.centres())
        known = (grid >= 0) & (plan != VOID) & (np.hypot(*LAYOUT.centres()) <= 15)
        free = grid < 50
        agree += int((free == (plan == ROAD))[known].sum())
        cells += int(known.sum())
        drivable += int((free & known).sum())
    assert cells > 4 * 800
    assert 0.3 < drivable / cells < 0.9
    assert agree / cells >= 0.97, f"{agree} of {cells} cells"
