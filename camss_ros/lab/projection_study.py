"""How right clouds and grids of the synthetic street are, and what they cost in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.evaluation.street_camera import camera_of, mount_of
from camss_ros.images.label_class import VOID
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.depth_cloud import POINT, DepthProjector, depth_in_metres
from camss_ros.projection.ground import GridLayout, GroundProjector
from camss_ros.projection.ground_classes import GroundClasses
from camss_ros.projection.labelling import View, label_points
from camss_ros.projection.point_cloud import FLOAT32, UINT8, Cloud, Field, packed_rgb
from camss_ros.projection.transforms import transform
from camss_ros.street.classes import PAVEMENT, ROAD
from camss_ros.street.plan import ground_plan
from camss_ros.street.synthetic import SyntheticStreet

STREET_CLASSES = GroundClasses(11, drivable=(ROAD,), flat=(PAVEMENT,))
LAYOUT = GridLayout(0.0, 15.0, -8.0, 8.0, 0.2)
_FARTHEST = 15.0  # m
_SIZE = (720, 960)
_TURNS = 50
_POINTS = 130_000
_COLORS = packed_rgb(np.arange(768, dtype=np.uint8).reshape(256, 3))

Labeller = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Image uint8 [H, W, 3] and true labels [H, W] -> labels in the street's classes and confidence."""


def true_labels(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `Labeller` that makes no mistakes."""
    return labels, np.full_like(labels, 255)


def score(labeller: Labeller, frames: list[tuple[int, int]]) -> dict[str, float]:
    """Shares of points and cells that are right.

    Args:
        labeller: what makes masks of images.
        frames: (seed, number) of frames of the street.

    Returns:
        points: share of the points of depth clouds, but for void, with the label of the scene.
        cells: share of the known cells within 15 m that are free where the ground plan has road,
            and not elsewhere; known: share of the cells in view that are known; free_wrong: share
            of the cells called free that are not.
    """
    totals = dict.fromkeys(("points", "right", "cells", "agree", "seen", "free", "free_wrong"), 0)
    for seed, i in frames:
        street = SyntheticStreet(seed=seed, height=_SIZE[0], width=_SIZE[1])
        image, truth, depth = street.frame_with_depth(i)
        labels, confidence = labeller(image, truth)
        camera = street.camera(i)
        model = camera_of(camera)
        points = np.zeros(labels.shape, POINT)
        DepthProjector(model, model, _COLORS).fill(points, labels, confidence, depth)
        known = ~np.isnan(points["z"]) & (truth != VOID)
        totals["points"] += int(known.sum())
        totals["right"] += int((points["label"] == truth)[known].sum())
        matrix = mount_of(camera).vehicle_to_camera()
        projector = GroundProjector(model, matrix, LAYOUT, STREET_CLASSES)
        grid = projector.look(labels, confidence).grid
        whole = projector.look(np.full_like(labels, ROAD), confidence).grid
        plan = ground_plan(street, i, LAYOUT.centres())
        near = (plan != VOID) & (np.hypot(*LAYOUT.centres()) <= _FARTHEST)
        cells, free = near & (grid >= 0), (grid >= 0) & (grid < 50)
        totals["seen"] += int((near & (whole >= 0)).sum())
        totals["cells"] += int(cells.sum())
        totals["agree"] += int((free == (plan == ROAD))[cells].sum())
        totals["free"] += int((free & near).sum())
        totals["free_wrong"] += int((free & near & (plan != ROAD)).sum())
    return {
        "points": totals["right"] / totals["points"],
        "cells": totals["agree"] / totals["cells"],
        "known": totals["cells"] / totals["seen"],
        "free_wrong": totals["free_wrong"] / max(1, totals["free"]),
    }


def measure() -> dict[str, dict[str, float]]:
    """Median and 95th percentile of the processor time in ms of each kind of output, on one core:
    what others do on the machine is not counted."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return {
            "640 x 480 depth to cloud": _times(_depth_work()),
            f"{_POINTS:,} lidar points, three cameras of 1920 x 1080": _times(_lidar_work()),
            "grid of 200 x 200, mask of 640 x 480": _times(_ground_work(480, 640)),
            "grid of 200 x 200, mask of 1920 x 1080": _times(_ground_work(1080, 1920)),
        }
    finally:
        cv2.setNumThreads(threads)


def _times(work: Callable[[], object]) -> dict[str, float]:
    work()
    seconds = []
    for _ in range(_TURNS):
        begun = time.thread_time()
        work()
        seconds.append(time.thread_time() - begun)
    times = milliseconds(seconds)
    return {"p50": times["p50"], "p95": times["p95"]}


def _scene(height: int, width: int) -> tuple[SyntheticStreet, np.ndarray, np.ndarray, CameraModel]:
    street = SyntheticStreet(height=height, width=width)
    _, labels, depth = street.frame_with_depth(0)
    return street, labels, depth, camera_of(street.camera(0))


def _depth_work() -> Callable[[], object]:
    """From the bytes of a depth image in mm to those of a cloud."""
    _, labels, depth, camera = _scene(480, 640)
    millimetres = np.nan_to_num(np.minimum(depth, 65.0) * 1000).astype("<u2")
    message: Any = SimpleNamespace(
        height=480, width=640, encoding="16UC1", is_bigendian=0, step=1280,
        data=millimetres.tobytes(),
    )  # fmt: skip
    projector, points = DepthProjector(camera, camera, _COLORS), np.zeros(labels.shape, POINT)
    return lambda: projector.fill(points, labels, labels, depth_in_metres(message))


def _lidar_work() -> Callable[[], object]:
    """From a cloud all around, of which cameras with plumb_bob distortion see a half, to one with
    label, confidence and colour."""
    rng = np.random.default_rng(7)
    angle, distance = rng.uniform(-np.pi, np.pi, _POINTS), rng.uniform(2, 80, _POINTS)
    names = ("x", "y", "z", "intensity", "ring", "time")
    kind = np.dtype([(name, "<u2" if name == "ring" else "<f4") for name in names])
    cloud = np.zeros(_POINTS, kind)
    cloud["x"], cloud["z"] = distance * np.sin(angle), distance * np.cos(angle)
    cloud["y"] = rng.uniform(-2, 2, _POINTS)
    fields = tuple(Field(name, 4 * i, FLOAT32) for i, name in enumerate(names[:3]))
    data = cloud.view(np.uint8).reshape(1, _POINTS, kind.itemsize)
    _, labels, _, camera = _scene(1080, 1920)
    lens = CameraModel(
        1080, 1920, 1400.0, 1400.0, camera.cx, camera.cy,
        distortion=(-0.28, 0.07, 0.0002, 0.0003, -0.01, 0.0, 0.0, 0.0),
    )  # fmt: skip
    views = [
        View(lens, transform((0, 0, 0), (0, np.sin(turn / 2), 0, np.cos(turn / 2))), labels, labels)
        for turn in (-1.1, 0.0, 1.1)
    ]

    def work() -> Cloud:
        read = Cloud(fields, data)
        label, sure = label_points(read.points(), views)
        added = {"label": (UINT8, label), "confidence": (UINT8, sure)}
        return read.extended({"rgb": (FLOAT32, _COLORS[label]), **added})

    return work


def _ground_work(height: int, width: int) -> Callable[[], object]:
    street, labels, _, camera = _scene(height, width)
    layout = GridLayout(0.0, 20.0, -10.0, 10.0, 0.1)
    matrix = mount_of(street.camera(0)).vehicle_to_camera()
    projector = GroundProjector(camera, matrix, layout, STREET_CLASSES)
    return lambda: projector.look(labels, np.full_like(labels, 255))
