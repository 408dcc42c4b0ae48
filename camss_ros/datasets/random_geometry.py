"""Random views of a labelled image: one projective map moves image and label alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from camss_ros.images.label_class import VOID

if TYPE_CHECKING:
    from camss_ros.datasets.augmentation import AugmentationOptions

_OUTSIDE = (127, 127, 127)
_REDUCED = 0.9  # below this scale the image is smoothed first


def random_view(
    image: np.ndarray,
    label: np.ndarray,
    options: AugmentationOptions,
    rng: np.random.Generator,
    focus: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Crop, zoom, mirror, rotate, shear and skew both to `options.size`.

    Labels are taken from the nearest pixel, so that no third class appears where two meet; outside
    the frame the image is grey and the label void. `focus` as in `augmentation.augment`.
    """
    height, width = options.size
    scale = _fit(label.shape, options, rng) * np.exp(rng.uniform(*np.log(options.zoom)))
    stretch = float(np.exp(rng.uniform(-options.aspect, options.aspect)))
    matrix = _window(label.shape, options.size, scale * (stretch, 1 / stretch), rng, focus)
    if rng.random() < options.flip:
        matrix = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    matrix = _about_centre(_linear(options, rng), width, height) @ matrix
    matrix = _skew(options, rng) @ matrix
    if scale.min() < _REDUCED:
        image = _smooth(image, scale)
    return (
        _warp(image, matrix, (width, height), cv2.INTER_LINEAR, _OUTSIDE),
        _warp(label, matrix, (width, height), cv2.INTER_NEAREST, (VOID,)),
    )


def _fit(
    shape: tuple[int, ...], options: AugmentationOptions, rng: np.random.Generator
) -> np.ndarray:
    """Scale [x, y] that fits a crop of random size into the output; 1 where there is no crop."""
    if options.crop_probability == 0 or rng.random() >= options.crop_probability:
        return np.ones(2)
    share = rng.uniform(*options.crop)
    return np.array([options.size[1] / shape[1], options.size[0] / shape[0]]) / share


def _window(
    shape: tuple[int, ...],
    size: tuple[int, int],
    scale: np.ndarray,
    rng: np.random.Generator,
    focus: tuple[int, int] | None,
) -> np.ndarray:
    """[3, 3]: the scaled frame, moved so that a random window of it is the output."""
    column, row = (None, None) if focus is None else (focus[1] * scale[0], focus[0] * scale[1])
    left = _offset(shape[1] * scale[0], size[1], column, rng)
    top = _offset(shape[0] * scale[1], size[0], row, rng)
    return np.array([[scale[0], 0, -left], [0, scale[1], -top], [0, 0, 1]])


def _offset(frame: float, window: int, focus: float | None, rng: np.random.Generator) -> float:
    """Where a window begins within a side of the frame (or the frame within a longer window)."""
    low, high = min(0.0, frame - window), max(0.0, frame - window)
    if focus is not None and frame > window:  # well inside the window, as far as the frame allows
        low, high = (
            min(max(low, focus - 0.9 * window), high),
            max(min(high, focus - 0.1 * window), low),
        )
    return rng.uniform(low, high)


def _linear(options: AugmentationOptions, rng: np.random.Generator) -> np.ndarray:
    """[2, 2]: random rotation and shear."""
    angle = np.deg2rad(rng.normal(0.0, options.rotation))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    if options.shear == 0:
        return rotation
    slant_x, slant_y = np.tan(np.deg2rad(rng.normal(0.0, options.shear, 2)))
    return rotation @ np.array([[1, slant_x], [0, 1]]) @ np.array([[1, 0], [slant_y, 1]])


def _about_centre(linear: np.ndarray, width: int, height: int) -> np.ndarray:
    centre = np.array([width / 2, height / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ centre
    return matrix


def _skew(options: AugmentationOptions, rng: np.random.Generator) -> np.ndarray:
    """[3, 3]: moves each corner of the output to a random place nearby."""
    if options.skew == 0:
        return np.eye(3)
    height, width = options.size
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (width, height)
    moved = corners + rng.uniform(-options.skew, options.skew, (4, 2)) * (width, height)
    return cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))


def _smooth(image: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Area-like smoothing before a reduction, as a camera with fewer pixels would have it."""
    sigma = np.where(scale < _REDUCED, 0.4 / scale, 1e-3)  # sigma 0 would mean that of the other
    return cv2.GaussianBlur(image, (0, 0), sigmaX=float(sigma[0]), sigmaY=float(sigma[1]))


def _warp(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    flags: int,
    outside: tuple[int, ...],
) -> np.ndarray:
    if np.array_equal(matrix[2], (0, 0, 1)):
        return cv2.warpAffine(image, matrix[:2], size, flags=flags, borderValue=outside)
    return cv2.warpPerspective(image, matrix, size, flags=flags, borderValue=outside)
