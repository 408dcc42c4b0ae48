"""How a calibrated camera projects: sensor_msgs/CameraInfo as a function of points, and back.

The models are those of sensor_msgs/distortion_models.hpp; formulas and the order of coefficients
are OpenCV's (calib3d), where the ROS calibrator takes them from. Pixel (0, 0) is the middle of the
first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from camss_ros.projection.errors import ProjectionRejectedError

PINHOLE, EQUIDISTANT = "pinhole", "equidistant"
NO_DISTORTION: tuple[float, ...] = (0.0,) * 8
_MODELS = {
    "": PINHOLE,
    "plumb_bob": PINHOLE,
    "rational_polynomial": PINHOLE,
    "equidistant": EQUIDISTANT,
    "fisheye": EQUIDISTANT,
}
_COEFFICIENTS = {PINHOLE: 8, EQUIDISTANT: 4}  # that are used; more must be zero
_NEAR = 1e-3  # m; a pinhole sees nothing nearer, nor behind
_WIDEST = np.tan(np.radians(85.0))  # radius on the plane at depth 1 up to which a lens is followed
_MARGIN = 1.05  # around the rays of the edges
_INVERSE_ERROR = 0.1  # pixels that a ray may miss its pixel by
_INVERSE_STEPS = 50  # at most; usual lenses take 5 or 6


class CalibrationMessage(Protocol):
    """The fields of sensor_msgs/CameraInfo that are used."""

    height: int
    width: int
    distortion_model: str
    d: Any
    k: Any
    p: Any
    binning_x: int
    binning_y: int
    roi: Any


@dataclass(frozen=True)
class CameraModel:
    """Focal lengths and principal point in pixels, and the distortion.

    Attributes:
        kind: "pinhole" (radial and tangential distortion of plumb_bob and rational_polynomial) or
            "equidistant".
        distortion: eight coefficients k1 k2 p1 p2 k3 k4 k5 k6 of a pinhole, four k1 k2 k3 k4 of an
            equidistant camera.
    """

    height: int
    width: int
    fx: float
    fy: float
    cx: float
    cy: float
    kind: str = PINHOLE
    distortion: tuple[float, ...] = NO_DISTORTION

    @classmethod
    def from_message(cls, info: CalibrationMessage, *, rectified: bool = False) -> CameraModel:
        """The model of the images that `info` belongs to, binned and cropped as it says.

        Args:
            rectified: the images are, so that P projects; otherwise K and D do.

        Raises:
            ProjectionRejectedError: not calibrated, an unknown model, or numbers that cannot be.
        """
        if rectified:
            kind, distortion = PINHOLE, NO_DISTORTION
            fx, fy, cx, cy = (float(info.p[i]) for i in (0, 5, 2, 6))
        else:
            kind, distortion = _distortion(info)
            fx, fy, cx, cy = (float(info.k[i]) for i in (0, 4, 2, 5))
        matrix = "P" if rectified else "K"
        if not (np.isfinite([fx, fy, cx, cy, *distortion]).all() and fx > 0 and fy > 0):
            raise ProjectionRejectedError(
                "calibration",
                f"{matrix} of camera_info has the focal lengths {fx:g} and {fy:g}: the camera is "
                "not calibrated (0 says so), or the message is damaged",
            )
        binning_x, binning_y = max(1, info.binning_x), max(1, info.binning_y)
        width, height = info.roi.width or info.width, info.roi.height or info.height
        width, height = width // binning_x, height // binning_y
        if width == 0 or height == 0:
            raise ProjectionRejectedError(
                "calibration", "camera_info has no size: expected width and height of its images"
            )
        return cls(
            height, width, fx / binning_x, fy / binning_y,
            (cx - info.roi.x_offset) / binning_x, (cy - info.roi.y_offset) / binning_y,
            kind, distortion,
        )  # fmt: skip

    def resized(self, height: int, width: int) -> CameraModel:
        """The model of the same images resized, as image_proc's resize node scales camera_info."""
        if (height, width) == (self.height, self.width):
            return self
        x, y = width / self.width, height / self.height
        return replace(
            self, height=height, width=width,
            fx=self.fx * x, cx=self.cx * x, fy=self.fy * y, cy=self.cy * y,
        )  # fmt: skip

    @property
    def pixel_angle(self) -> float:
        """rad that a pixel in the middle of the image sees."""
        return 1.0 / max(self.fx, self.fy)

    @cached_property
    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Radius (pinhole, at depth 1) or angle (equidistant, rad), and the radius in the image at
        focal length 1, as far as it rises; beyond, a polynomial folds points back into the image.
        """
        if self.kind == PINHOLE:
            places = np.linspace(0.0, _WIDEST, 80001)
            image = places * self._radial(places**2)
        else:
            places = np.linspace(0.0, np.pi, 8001)
            image = places * self._angular(places**2)
        folded = np.flatnonzero(~(np.diff(image) > 0))
        end = folded[0] + 1 if len(folded) else len(places)
        return places[:end], image[:end]

    @property
    def _limit(self) -> float:
        """Radius or angle up to which the distortion is one to one."""
        return float(self._curve[0][-1])

    def _radial(self, r2: np.ndarray) -> np.ndarray:
        k1, k2, _, _, k3, k4, k5, k6 = self.distortion
        above = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        if k4 or k5 or k6:
            above = above / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return above

    def _angular(self, theta2: np.ndarray) -> np.ndarray:
        k1, k2, k3, k4 = self.distortion
        return 1 + theta2 * (k1 + theta2 * (k2 + theta2 * (k3 + theta2 * k4)))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [3, N] in the optical frame -> columns and rows [N] in pixels.

        NaN where a point has none: behind the camera, beyond the lens, or NaN itself. Points that
        fall beside the image have their place there.
        """
        with np.errstate(all="ignore"):
            x, y, z = points
            if self.kind == EQUIDISTANT:
                return self._project_equidistant(x, y, z)
            depth = np.where(z > _NEAR, z, np.nan)
            x, y = x / depth, y / depth
            if any(self.distortion):
                r2 = x * x + y * y
                r2[r2 > self._limit**2] = np.nan
                aside, down = self._tangential(x, y, r2)
                radial = self._radial(r2)
                x, y = x * radial + aside, y * radial + down
            return x * self.fx + self.cx, y * self.fy + self.cy

    def _project_equidistant(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        radius = np.hypot(x, y)
        theta = np.arctan2(radius, z)
        theta[(theta > self._limit) | ((radius == 0) & (z <= 0))] = np.nan
        scale = theta * self._angular(theta * theta) / np.maximum(radius, 1e-12)
        return x * scale * self.fx + self.cx, y * scale * self.fy + self.cy

    def pixels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [3, N] -> which of them fall into the image (int [M]), and their pixels as places
        in the flattened image (int [M])."""
        near = self._roughly_seen(points)
        u, v = self.project(points[:, near])
        inside = np.flatnonzero(
            (u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5)
        )
        columns = (u[inside] + 0.5).astype(np.int64)
        rows = (v[inside] + 0.5).astype(np.int64)
        return near[inside], rows * self.width + columns

    def _roughly_seen(self, points: np.ndarray) -> np.ndarray:
        """Which of the points a pinhole may see, and more: most points of a lidar it does not."""
        x, y, z = points
        with np.errstate(invalid="ignore"):
            seen = z > _NEAR if self.kind == PINHOLE else ~np.isnan(z)
            if self._opening is not None:
                right, down = (limit * z for limit in self._opening)
                seen &= (np.abs(x) <= right) & (np.abs(y) <= down)
        return np.flatnonzero(seen)

    @cached_property
    def _opening(self) -> tuple[float, float] | None:
        """The largest |x| and |y| at depth 1 that a pinhole sees, a little more than that; None
        where the lens does not reach the edges of the image."""
        if self.kind != PINHOLE:
            return None
        columns, rows = np.arange(self.width + 1) - 0.5, np.arange(self.height + 1) - 0.5
        edges = np.concatenate(
            [self._rays_of(columns, row + 0 * columns) for row in rows[[0, -1]]]
            + [self._rays_of(column + 0 * rows, rows) for column in columns[[0, -1]]],
            axis=1,
        )
        if np.isnan(edges).any():
            return None
        right, down = np.abs(edges).max(axis=1) * _MARGIN
        return float(right), float(down)

    @cached_property
    def rays(self) -> np.ndarray:
        """float32 [2, H, W]: x and y at depth 1 of what each pixel sees; NaN where that is none
        (outside of the lens' image, or 90 degrees and more from the axis)."""
        columns, rows = np.meshgrid(np.arange(self.width), np.arange(self.height))
        rays = self._rays_of(columns.reshape(-1), rows.reshape(-1))
        return rays.reshape(2, self.height, self.width).astype(np.float32)

    def _rays_of(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float64 [2, N] as `rays`, of the pixels [N] in these columns and rows."""
        seen = np.stack([(columns - self.cx) / self.fx, (rows - self.cy) / self.fy])
        # not by OpenCV, which gives up on wide lenses: 4.11 on most of the image of a pinhole, and
        # on a fisheye's where the image of an angle is beyond a right angle
        if self.kind == EQUIDISTANT:
            angle, radius = self._straight(seen)
            angle[angle > np.pi / 2] = np.nan
            rays = seen * np.tan(angle) / radius
        else:
            rays = self._without_distortion(seen)
        u, v = self.project(np.concatenate([rays, np.ones((1, rays.shape[1]))]))
        with np.errstate(invalid="ignore"):
            missed = np.hypot(u - columns, v - rows) > _INVERSE_ERROR
        rays[:, missed | np.isnan(u)] = np.nan
        return rays

    def _straight(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Radius or angle [N] before the distortion of places [2, N] in the image at focal length
        1, and their radius there, above 0."""
        places, image = self._curve
        radius = np.maximum(np.hypot(*seen), 1e-12)
        return np.interp(radius, image, places), radius

    def _without_distortion(self, seen: np.ndarray) -> np.ndarray:
        """Of a pinhole: rays [2, N] of places [2, N] in the image at focal length 1; any where
        there is none."""
        if not any(self.distortion):
            return seen
        rays = np.zeros_like(seen)
        for _ in range(_INVERSE_STEPS):
            x, y = rays
            # the tangential part is small, and therefore nearly that of the ray before
            radial = seen - self._tangential(x, y, x * x + y * y)
            straight, radius = self._straight(radial)
            before, rays = rays, radial * (straight / radius)
            if np.abs(rays - before).max(initial=0.0) < 1e-9:
                break
        return rays

    def _tangential(
        self, x: np.ndarray, y: np.ndarray, r2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        _, _, p1, p2 = self.distortion[:4]
        xy = 2 * x * y
        return p1 * xy + p2 * (r2 + 2 * x * x), p2 * xy + p1 * (r2 + 2 * y * y)


def _distortion(info: CalibrationMessage) -> tuple[str, tuple[float, ...]]:
    kind = _MODELS.get(info.distortion_model)
    if kind is None:
        raise ProjectionRejectedError(
            "calibration",
            f"distortion_model {info.distortion_model!r} is not known: expected one of "
            f"{', '.join(name for name in _MODELS if name)}",
        )
    given = [float(value) for value in info.d]
    count = _COEFFICIENTS[kind]
    if any(given[count:]):
        raise ProjectionRejectedError(
            "calibration",
            f"D of {info.distortion_model!r} has {len(given)} coefficients, of which the first "
            f"{count} are known (no thin prism, no tilted sensor): rectify the images",
        )
    return kind, (*given[:count], *[0.0] * (count - len(given)))
