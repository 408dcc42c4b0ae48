"""Calibrations and clouds for the tests of the projection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from camss_ros.projection.camera_model import CameraModel

CAMERA = CameraModel(height=480, width=640, fx=525.0, fy=520.0, cx=319.0, cy=241.0)
DISTORTIONS = {
    "": (),
    "plumb_bob": (-0.28, 0.07, 0.0002, 0.0003, -0.01),
    "rational_polynomial": (2.1, 1.2, 0.0004, -0.0002, 0.05, 2.4, 1.9, 0.3),
    "equidistant": (-0.02, 0.006, -0.003, 0.0006),
}


def calibration(model: str = "", **changed: Any) -> Any:
    """The fields of sensor_msgs/CameraInfo of a camera of 640 x 480 pixels."""
    fx = 300.0 if model == "equidistant" else 525.0
    fields: dict[str, Any] = {
        "height": 480, "width": 640, "distortion_model": model, "d": DISTORTIONS.get(model, ()),
        "k": [fx, 0, 319.0, 0, fx - 5, 241.0, 0, 0, 1],
        "p": [500.0, 0, 320.0, 0, 0, 500.0, 240.0, 0, 0, 0, 1, 0],
        "binning_x": 0, "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changed})


def cloud_message(points: np.ndarray, **changed: Any) -> Any:
    """The fields of sensor_msgs/PointCloud2 for points of a structured dtype, [N] or [H, W]."""
    rows = np.atleast_2d(points)
    codes = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
    assert rows.dtype.fields is not None
    fields = [
        SimpleNamespace(name=name, offset=place, datatype=codes[kind.str[1:]], count=1)
        for name, (kind, place, *_) in rows.dtype.fields.items()
    ]
    orders = {kind.byteorder for kind, *_ in rows.dtype.fields.values()}
    message = {
        "height": rows.shape[0], "width": rows.shape[1], "fields": fields,
        "is_bigendian": ">" in orders, "point_step": rows.dtype.itemsize,
        "row_step": rows.dtype.itemsize * rows.shape[1], "data": rows.tobytes(), "is_dense": True,
    }  # fmt: skip
    return SimpleNamespace(**{**message, **changed})
