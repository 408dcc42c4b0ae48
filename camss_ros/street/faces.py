"""Faces of meshes: which are in view, where in the pictures, how lit; and how they are filled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from camss_ros.street.camera import NEAR, SceneCamera, clip_near
from camss_ros.street.classes import UNLABELLED
from camss_ros.street.depth import DepthPicture, mesh_planes
from camss_ros.street.light import Atmosphere
from camss_ros.street.mesh import Mesh

SHIFT = 4  # bits below the pixel in polygon coordinates
ONE = 1 << SHIFT
_CAP = np.linspace(-math.pi / 2, math.pi / 2, 5)
_NO_PLANE = np.zeros(3)
_HALO = 3.0  # radius of the halo of a lit lamp, in sizes of the lamp


@dataclass
class Target:
    """The pictures that every polygon is drawn into, and the camera of the larger one."""

    image: np.ndarray  # uint8 [2H, 2W, 3]
    label: np.ndarray  # uint8 [H, W]
    camera: SceneCamera
    halos: list[tuple[float, float, float, tuple[float, ...], int]]
    depth: DepthPicture | None = None


@dataclass(frozen=True)
class Faces:
    """The faces of a mesh that are in view; points in fixed-point pixels of either picture."""

    indices: np.ndarray  # int [M], which faces of the mesh, ascending
    large: list[np.ndarray]
    small: list[np.ndarray]
    colors: list[list[float]]
    labels: list[int]
    planes: np.ndarray  # float [M, 3], see DepthPicture; [0, 3] where no depth is drawn


def large_to_small(points: np.ndarray) -> np.ndarray:
    """Fixed-point pixels of the large picture -> of the small one (pixel centres line up)."""
    return (points - ONE // 2) >> 1


def fill_polygon(picture: np.ndarray, points: np.ndarray, value: float | list[float]) -> None:
    """Fills a convex polygon of fixed-point pixels."""
    cv2.fillConvexPoly(picture, points, value, cv2.LINE_8, SHIFT)


def fill_labels(target: Target, points: np.ndarray, label: int, plane: np.ndarray) -> None:
    """Fills a polygon in the labels and, where the depth is drawn, of that plane in the depth."""
    fill_polygon(target.label, points, label)
    if target.depth is not None:
        fill_polygon(target.depth.faces, points, target.depth.add(plane))


def project(mesh: Mesh, target: Target, atmosphere: Atmosphere, *, hazy: bool = True) -> Faces:
    """The faces of a mesh that are in view, lit; lamps leave their halo in the target.

    Args:
        hazy: their colours fade with the distance.
    """
    camera = target.camera
    count = len(mesh.counts)
    ends = np.cumsum(mesh.counts)
    starts = ends - mesh.counts
    seen = camera.to_camera(mesh.vertices)
    depth = seen[:, 2]
    nearest = np.minimum.reduceat(depth, starts)
    middle = np.add.reduceat(depth, starts) / mesh.counts
    view = mesh.vertices[starts] - camera.position
    away = np.einsum("ij,ij->i", mesh.normals, view) > 0
    shown = (np.maximum.reduceat(depth, starts) > NEAR) & ~(mesh.culled & away)
    limb = mesh.counts == 2
    shown &= ~(limb & (nearest < NEAR))
    crossing = shown & (nearest < NEAR)

    safe = seen.copy()
    safe[:, 2] = np.maximum(depth, NEAR)
    pixels = camera.to_pixels(safe)
    reach = (mesh.radii * camera.focal / safe[:, 2])[:, None]
    low = np.minimum.reduceat(pixels - reach, starts, axis=0)
    high = np.maximum.reduceat(pixels + reach, starts, axis=0)
    inside = (high > 0).all(axis=1) & (low < (camera.width, camera.height)).all(axis=1)
    # Details under a pixel are not worth drawing; bodies are, for their label.
    large = ((high - low) > np.where(mesh.labels == UNLABELLED, 1.5, 0.5)[:, None]).all(axis=1)
    shown &= crossing | (inside & large)

    light = atmosphere.shade(np.where((away & ~mesh.culled)[:, None], -mesh.normals, mesh.normals))
    if atmosphere.lamps:
        light = np.where(mesh.glowing[:, None], 1.3, light)
    colors = mesh.colors * light
    if hazy:
        clear = atmosphere.clear(middle)[:, None]
        colors = colors * clear + atmosphere.haze * (1 - clear)
    colors = np.clip(colors, 0, 255)

    fixed = np.round(pixels * ONE).astype(np.int32)
    halved = large_to_small(fixed)
    points = {}
    for face, start, end in zip(
        *(part[shown & ~limb & ~crossing].tolist() for part in (np.arange(count), starts, ends)),
        strict=True,
    ):
        points[face] = fixed[start:end], halved[start:end]
    for face in np.flatnonzero(crossing).tolist():
        cut = clip_near(seen[starts[face] : ends[face]])
        if len(cut) >= 3:
            outline = np.round(camera.to_pixels(cut) * ONE).astype(np.int32)
            points[face] = outline, large_to_small(outline)
    limbs = np.flatnonzero(shown & limb)
    if len(limbs):
        first = starts[limbs]
        rings = _limb_outlines(pixels[first], pixels[first + 1], reach[first], reach[first + 1])
        rings = np.round(rings * ONE).astype(np.int32)
        pairs = zip(rings, large_to_small(rings), strict=True)
        points.update(zip(limbs.tolist(), pairs, strict=True))
    if atmosphere.lamps:
        for face in np.flatnonzero(shown & mesh.glowing & ~crossing):
            x, y = pixels[starts[face] : ends[face]].mean(axis=0) / 2
            radius = _HALO * float((high[face] - low[face]).max()) / 2
            body = int(np.flatnonzero(mesh.labels[: face + 1] != UNLABELLED)[-1])
            target.halos.append((x, y, radius, tuple(mesh.colors[face]), int(mesh.labels[body])))
    indices = np.array(sorted(points), int)
    large, small = [points[i][0] for i in indices], [points[i][1] for i in indices]
    planes = np.zeros((0, 3))
    if target.depth is not None:
        planes = mesh_planes(mesh, seen, starts, camera)[indices]
    labels = mesh.labels[indices].tolist()
    return Faces(indices, large, small, colors[indices].tolist(), labels, planes)


def _limb_outlines(a: np.ndarray, b: np.ndarray, ra: np.ndarray, rb: np.ndarray) -> np.ndarray:
    """Outlines [N, 10, 2] of limbs between pixels a and b [N, 2] with radii [N, 1]."""
    along = b - a
    angle = np.arctan2(along[:, 1], along[:, 0])[:, None]
    end = np.stack([np.cos(angle + _CAP), np.sin(angle + _CAP)], axis=2)
    return np.concatenate([b[:, None] + end * rb[:, None], a[:, None] - end * ra[:, None]], axis=1)


def fill(target: Target, faces: Faces, start: int, end: int) -> None:
    """Fills the faces in view number start to end."""
    for i in range(start, end):
        fill_polygon(target.image, faces.large[i], faces.colors[i])
        if faces.labels[i] != UNLABELLED:
            plane = faces.planes[i] if target.depth is not None else _NO_PLANE
            fill_labels(target, faces.small[i], faces.labels[i], plane)
