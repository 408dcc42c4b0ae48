"""The street from above: what the ground is, and what stands on it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.street.chunk import CHUNK, Solid
from camss_ros.street.classes import UNLABELLED
from camss_ros.street.mesh import Mesh
from camss_ros.street.synthetic import FRAME_RATE, SyntheticStreet

_REACH = 40.0  # m ahead that traffic and pieces of street are asked for
_SCALE = 8  # pixels of the drawing along a cell
_BITS = 4  # below the pixel in coordinates
_HIGHEST = 1.0  # m; what begins above that does not stand on the ground


def ground_plan(
    street: SyntheticStreet, i: int, cells: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """The class of the ground at places around the camera of frame i, drawn without that camera.

    Args:
        cells: [rows, columns] x (ahead) and y (to the left) in m of the ground point below the
            camera: a regular grid along its heading.

    Returns:
        uint8 [rows, columns], CamVid 11 ids, of what stands there before the ground's, 255 where
        nothing is.
    """
    camera, (x, y) = street.camera(i), cells
    resolution = float(x[0, 1] - x[0, 0])
    rows, columns = x.shape
    plan = np.full((rows * _SCALE, columns * _SCALE), VOID, np.uint8)
    corner = np.array([x[0, 0], y[0, 0]]) - resolution / 2
    cos, sin = math.cos(camera.yaw), math.sin(camera.yaw)

    def draw(points: np.ndarray, label: int) -> None:
        east, north = points[:, 0] - camera.x, points[:, 2] - camera.z
        places = np.stack([east * sin + north * cos, north * sin - east * cos], axis=1)
        pixels = (places - corner) / resolution * _SCALE - 0.5
        outline = cv2.convexHull(np.round(pixels * 2**_BITS).astype(np.int32))
        cv2.fillConvexPoly(plan, outline, label, cv2.LINE_8, _BITS)

    def draw_mesh(mesh: Mesh) -> None:
        faces = np.split(mesh.vertices, np.cumsum(mesh.counts)[:-1])
        for face, label in zip(faces, mesh.labels.tolist(), strict=True):
            if label != UNLABELLED and face[:, 1].min() < _HIGHEST:
                draw(face, label)

    first, last = (math.floor((camera.z + way) / CHUNK) for way in (-1.0, _REACH))
    chunks = [street.street.chunk(index) for index in range(first, last + 1)]
    for chunk in chunks:
        draw_mesh(chunk.ground)
    for chunk in [*chunks, street.street.traffic.at(i / FRAME_RATE, camera.z, _REACH)]:
        for item in chunk.items:
            if isinstance(item, Solid):  # a panel has no breadth, or is a roof
                draw_mesh(item.mesh)
    return plan[_SCALE // 2 :: _SCALE, _SCALE // 2 :: _SCALE]
