"""A label image and the depth of its pixels as a labelled point cloud."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from camss_ros.images.encodings import RawImage
from camss_ros.images.label_class import VOID
from camss_ros.projection.camera_model import CameraModel
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.point_cloud import FLOAT32, UINT8, Cloud, Field

# REP 118: millimetres, 0 where there is none; metres, NaN and infinity.
_DEPTH = {"16UC1": ("u2", 1e-3), "mono16": ("u2", 1e-3), "32FC1": ("f4", 1.0)}

POINT = np.dtype(
    {
        "names": ["x", "y", "z", "rgb", "label", "confidence"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "u1", "u1"],
        "offsets": [0, 4, 8, 12, 16, 17],
        "itemsize": 20,
    }
)
"""A point of a labelled cloud; `rgb` has the colour of the class in its bits."""
_BLOCK = 20_000  # points
FIELDS = tuple(
    Field(name, offset, UINT8 if kind == np.uint8 else FLOAT32)
    for name, (kind, offset, *_) in (POINT.fields or {}).items()
)


def depth_in_metres(message: RawImage) -> np.ndarray:
    """sensor_msgs/Image, 16UC1 or mono16 (mm) or 32FC1 (m) -> float32 [H, W] in metres; NaN where
    there is none.

    Raises:
        ProjectionRejectedError: another encoding, no pixels, or fewer bytes than they take.
    """
    known = _DEPTH.get(message.encoding)
    if known is None:
        raise ProjectionRejectedError(
            "depth",
            f"encoding {message.encoding!r} holds no depth: expected 16UC1 (mm) or 32FC1 (m)",
        )
    code, unit = known
    height, width, step = message.height, message.width, message.step
    kind = np.dtype(code).newbyteorder(">" if message.is_bigendian else "<")
    if height * width == 0 or step < width * kind.itemsize or len(message.data) < height * step:
        raise ProjectionRejectedError(
            "depth",
            f"{len(message.data)} bytes in rows of {step} do not hold {width} x {height} pixels of "
            f"{message.encoding}",
        )
    rows = np.frombuffer(message.data, np.uint8, count=height * step).reshape(height, step)
    values = np.ascontiguousarray(rows[:, : width * kind.itemsize]).view(kind)
    depth = values.astype(np.float32)
    if unit != 1.0:
        depth *= np.float32(unit)
    with np.errstate(invalid="ignore"):
        depth[~((depth > 0) & (depth < np.inf))] = np.nan
    return depth


class DepthProjector:
    """Makes clouds of label images and depth images of one camera.

    Both have the same optical frame (registered depth); their sizes and calibrations may differ.

    Args:
        colors: float32 [256], the bits of `rgb` for each label (`packed_rgb`).
    """

    def __init__(
        self, mask_camera: CameraModel, depth_camera: CameraModel, colors: np.ndarray
    ) -> None:
        self.mask_camera, self.depth_camera, self._colors = mask_camera, depth_camera, colors

    @cached_property
    def _places(self) -> np.ndarray | None:
        """int [H, W]: for each pixel of the mask that of the depth image, flattened; its number of
        pixels where there is none; None where they are the same."""
        if self.mask_camera == self.depth_camera:
            return None
        height, width = self.mask_camera.height, self.mask_camera.width
        rays = self.mask_camera.rays.reshape(2, -1)
        points = np.concatenate([rays, np.ones((1, rays.shape[1]), np.float32)])
        seen, pixels = self.depth_camera.pixels(points)
        places = np.full(rays.shape[1], self.depth_camera.height * self.depth_camera.width)
        places[seen] = pixels
        return places.reshape(height, width)

    def fill(
        self, points: np.ndarray, labels: np.ndarray, confidence: np.ndarray, depth: np.ndarray
    ) -> None:
        """Fill an organised cloud, `POINT` [H, W] of the mask's size; NaN where there is no depth.

        Args:
            points: the cloud to fill.
            labels, confidence: uint8 [H, W].
            depth: float32 [h, w] in metres (along the optical axis), NaN where there is none.
        """
        depth = self.depth_of_mask(depth)
        x, y = self.mask_camera.rays
        # A few rows at a time: they stay in the cache while their fields are written.
        rows = max(1, _BLOCK // depth.shape[1])
        for start in range(0, len(depth), rows):
            part = slice(start, start + rows)
            block, z = points[part], depth[part]
            np.multiply(x[part], z, out=block["x"])
            np.multiply(y[part], z, out=block["y"])
            block["z"] = z
            block["rgb"] = self._colors.take(labels[part])
            block["label"] = labels[part]
            block["confidence"] = confidence[part]

    def depth_of_mask(self, depth: np.ndarray) -> np.ndarray:
        """Depth image [h, w] as of `fill` -> float32 [H, W], the depth of what each pixel of the
        mask sees; NaN where there is none."""
        if self._places is not None:
            depth = np.append(depth.reshape(-1), np.float32(np.nan))[self._places]
        if self._is_blind is not None:
            depth = np.where(self._is_blind, np.float32(np.nan), depth)
        return depth

    @cached_property
    def _is_blind(self) -> np.ndarray | None:
        """bool [H, W], True for pixels without a ray; None where each has one."""
        blind = np.isnan(self.mask_camera.rays[0])
        return blind if blind.any() else None


def organised_cloud(points: np.ndarray) -> Cloud:
    """`POINT` [H, W] as a cloud without a copy; it may hold NaN."""
    return Cloud(FIELDS, points.view(np.uint8).reshape(*points.shape, POINT.itemsize), False, False)


def dense_cloud(points: np.ndarray, labels: np.ndarray | None = None) -> Cloud:
    """The points of `POINT` [H, W] that have a place, unorganised; of the labels that are True in
    bool [256] where that is given."""
    chosen = ~np.isnan(points["z"])
    if labels is not None:
        chosen &= labels.take(points["label"])
    words = points.view("<u4").reshape(-1, POINT.itemsize // 4)  # faster than a structured array
    found = words[np.flatnonzero(chosen)]
    return Cloud(FIELDS, found.view(np.uint8).reshape(1, -1, POINT.itemsize), False, True)


def labels_to_publish(drop: list[int], keep: list[int]) -> np.ndarray:
    """bool [256]: the labels that a filtered cloud has. Those of `keep` where that names any, else
    all (void too) but those of `drop`."""
    chosen = np.full(VOID + 1, not keep)
    chosen[keep] = True
    chosen[drop] = False
    return chosen
