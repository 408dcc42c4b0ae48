"""A picture of a frame in the world: its mask, its cloud seen from behind and above, its ground."""

from __future__ import annotations

import math

import cv2
import numpy as np

from camss_ros.images.drawing import overlay
from camss_ros.images.label_sets import LabelSet
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.depth_cloud import POINT, DepthProjector
from camss_ros.projection.ground import GridLayout, GroundProjector
from camss_ros.projection.ground_classes import GroundClasses, class_ids
from camss_ros.projection.point_cloud import packed_rgb
from camss_ros.projection.transforms import Mount, apply

_LAYOUT = GridLayout(0.0, 16.0, -8.0, 8.0, 0.2)
_FARTHEST = 45.0  # m, of points that are drawn
_VIEWPOINT = (-6.0, 0.0, 5.0)  # m, in the vehicle's frame; looks down by _PITCH
_PITCH = math.radians(14.0)
_BACKGROUND = 24
_UNKNOWN, _FREE, _OCCUPIED = (96, 96, 96), (245, 245, 245), (20, 20, 20)


def world_picture(
    image: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray,
    depth: np.ndarray,
    camera: CameraModel,
    mount: Mount,
    label_set: LabelSet,
) -> np.ndarray:
    """uint8 [H, W', 3] RGB: overlay, labelled cloud and drivable grid side by side.

    Args:
        image: uint8 [H, W, 3] RGB.
        labels, confidence: uint8 [H, W].
        depth: float32 [H, W] metres, NaN for none.
        camera, mount: of the image.
        label_set: of the labels; "road" is drivable.
    """
    drivable = class_ids(["road"], label_set, "road")
    names = {each.name for each in label_set.classes}
    flat = class_ids(sorted(names & {"sidewalk", "pavement", "terrain"}), label_set, "flat")
    classes = GroundClasses(len(label_set.classes), tuple(drivable), tuple(flat))
    to_camera = mount.vehicle_to_camera()
    grid = GroundProjector(camera, to_camera, _LAYOUT, classes).look(labels, confidence).grid
    points = np.zeros(labels.shape, POINT)
    colors = packed_rgb(label_set.palette())
    DepthProjector(camera, camera, colors).fill(points, labels, confidence, depth)
    height = len(image)
    return np.concatenate(
        [
            overlay(image, labels, label_set.classes),
            _draw_cloud(points, np.linalg.inv(to_camera), label_set, image.shape[:2]),
            _draw_grid(grid, height),
        ],
        axis=1,
    )


def _draw_cloud(
    points: np.ndarray, to_vehicle: np.ndarray, label_set: LabelSet, size: tuple[int, int]
) -> np.ndarray:
    """The points as a camera behind and above the vehicle sees them, the nearest in front."""
    height, width = size
    chosen = points[~np.isnan(points["z"]) & (points["z"] < _FARTHEST)]
    world = apply(to_vehicle, np.stack([chosen[name] for name in "xyz"]).astype(np.float64))
    x, y, z = _VIEWPOINT
    viewer = CameraModel(height, width, 0.8 * width, 0.8 * width, width / 2, height / 2)
    seen = apply(Mount(z, _PITCH).vehicle_to_camera(), world - np.array([[x], [y], [0.0]]))
    columns, rows = viewer.project(seen)
    picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
    palette = label_set.palette()
    for i in np.argsort(-seen[2]):
        if 0 <= columns[i] < width and 0 <= rows[i] < height:
            radius = max(1, round(0.02 * width / seen[2, i]))
            place = (int(columns[i]), int(rows[i]))
            color = palette[chosen["label"][i]].tolist()
            cv2.rectangle(picture, place, (place[0] + radius, place[1] + radius), color, -1)
    return picture


def _draw_grid(grid: np.ndarray, height: int) -> np.ndarray:
    """uint8 [height, height, 3]: x upwards, y to the left; what is free is light."""
    share = np.clip(grid, 0, 100)[..., None] / 100.0
    picture = share * _OCCUPIED + (1 - share) * _FREE
    picture[grid < 0] = _UNKNOWN
    upright = picture.astype(np.uint8).transpose(1, 0, 2)[::-1, ::-1]
    return cv2.resize(upright, (height, height), interpolation=cv2.INTER_NEAREST)
