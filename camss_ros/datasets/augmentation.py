"""Augmentation of labelled images for training (paper section 4.1): its options and geometry.

Geometry moves image and label alike, by one projective map; photometry (`photometry.py`), which is
light, lens and sensor, changes the image alone. The result is a function of the generator alone:
seed it for each sample, `np.random.default_rng([seed, sample])`, and it does not matter which
worker draws it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from camss_ros.images.label_class import VOID

_OUTSIDE = (127, 127, 127)
_REDUCED = 0.9  # below this scale the image is smoothed first


def _check(name: str, value: object, good: object, expected: str) -> None:
    if not good:
        raise ValueError(f"augmentation option {name} is {value}: expected {expected}")


@dataclass(frozen=True)
class AugmentationOptions:
    """What is drawn at random, how often and how strongly. A pair is a uniform range.

    The defaults are the bundled model's first recipe. config/train has today's, and all that the
    paper names in cam_seg_base_cityscapes.yaml.

    Attributes:
        size: (height, width) of the result in pixels.
        crop_probability: of cutting a share of the frame and fitting it into `size`, which changes
            the proportions where those of `size` are others. Otherwise a window of `size` is cut.
        crop: sides of that cut as a share of the frame's.
        zoom: factor of the scale, log-uniform.
        aspect: largest logarithm by which width and height are scaled apart.
        flip: probability of mirroring left and right.
        rotation: standard deviation of the angle about the middle, degrees.
        shear: standard deviation of the slant along either axis, degrees.
        skew: how far each corner moves at most, as a share of the sides (a perspective change).
        recolour: strength of exposure, white balance, contrast, saturation, slight blur and noise;
            0 for none.
        color_jitter_probability: of brightness, contrast, saturation and hue as follows.
        color_jitter: factors of the first three are drawn from 1 - it to 1 + it.
        hue_jitter: largest turn of the hue, as a share of the colour circle.
        gaussian_noise_probability: of adding normal noise to the image.
        gaussian_noise: its standard deviation, 0-255.
        salt_and_pepper_probability: of black and white pixels.
        salt_and_pepper: their share.
        gaussian_blur_probability: of a blur.
        gaussian_blur: its standard deviation, pixels.
        motion_blur_probability: of a blur along a line of random direction.
        motion_blur: its length, pixels.
        hide_and_seek_probability: of hiding cells of a grid (arXiv 1704.04232).
        hide_and_seek: probability of a cell to be hidden.
        hide_and_seek_cells: sides of the cells to choose from, pixels.

    Raises ValueError that names the option which is out of range.
    """

    size: tuple[int, int] = (288, 288)
    crop_probability: float = 0.0
    crop: tuple[float, float] = (0.6, 0.9)
    zoom: tuple[float, float] = (0.6, 1.7)
    aspect: float = 0.1
    flip: float = 0.5
    rotation: float = 2.0
    shear: float = 0.0
    skew: float = 0.0
    recolour: float = 0.8
    color_jitter_probability: float = 0.0
    color_jitter: float = 0.4
    hue_jitter: float = 0.05
    gaussian_noise_probability: float = 0.0
    gaussian_noise: tuple[float, float] = (2.0, 25.0)
    salt_and_pepper_probability: float = 0.0
    salt_and_pepper: tuple[float, float] = (0.005, 0.05)
    gaussian_blur_probability: float = 0.0
    gaussian_blur: tuple[float, float] = (0.3, 2.0)
    motion_blur_probability: float = 0.0
    motion_blur: tuple[float, float] = (3.0, 15.0)
    hide_and_seek_probability: float = 0.0
    hide_and_seek: float = 0.25
    hide_and_seek_cells: tuple[int, ...] = (16, 32, 44, 56)

    def __post_init__(self) -> None:
        _check("size", self.size, min(self.size) >= 1, "two sides of at least 1 pixel")
        for name, value in vars(self).items():
            if name.endswith("probability") or name in ("flip", "hide_and_seek"):
                _check(name, value, 0 <= value <= 1, "0 to 1")
            elif not isinstance(value, tuple):
                _check(name, value, value >= 0, "0 or more")
            elif name not in ("size", "hide_and_seek_cells"):
                low, high = value
                _check(name, value, 0 < low <= high, "two numbers above 0, in ascending order")
        _check("skew", self.skew, self.skew < 0.25, "less than 0.25")
        for name in ("aspect", "color_jitter"):
            _check(name, getattr(self, name), getattr(self, name) <= 1, "0 to 1")
        for name in ("crop", "zoom"):
            low, high = getattr(self, name)
            _check(name, (low, high), low >= 0.01 and high <= 100, "factors from 0.01 to 100")
        for name in ("gaussian_blur", "motion_blur"):  # which take memory by the square
            _check(name, getattr(self, name), getattr(self, name)[1] <= 200, "at most 200 pixels")
        specks = self.salt_and_pepper
        _check("salt_and_pepper", specks, specks[1] <= 1, "shares of at most 1")
        cells = self.hide_and_seek_cells
        _check("hide_and_seek_cells", cells, cells and min(cells) >= 1, "sides of at least 1 pixel")


@dataclass(frozen=True)
class View:
    """One projective map of a frame into a window.

    Attributes:
        matrix: [3, 3], from pixels of the frame to those of the window.
        scale: [x, y], by which the frame is enlarged.
        size: (height, width) of the window.
    """

    matrix: np.ndarray
    scale: np.ndarray
    size: tuple[int, int]

    def of_image(self, image: np.ndarray) -> np.ndarray:
        """The window of uint8 [H, W, 3], bilinear; grey outside the frame."""
        if self.scale.min() < _REDUCED:
            image = _smooth(image, self.scale)
        return self._warp(image, cv2.INTER_LINEAR, _OUTSIDE)

    def of_label(self, label: np.ndarray) -> np.ndarray:
        """The window of uint8 [H, W] labels; void outside the frame.

        From the nearest pixel, so that no third class appears where two meet.
        """
        return self._warp(label, cv2.INTER_NEAREST, (VOID,))

    def _warp(self, image: np.ndarray, flags: int, outside: tuple[int, ...]) -> np.ndarray:
        height, width = self.size
        if np.array_equal(self.matrix[2], (0, 0, 1)):
            matrix = self.matrix[:2]
            return cv2.warpAffine(image, matrix, (width, height), flags=flags, borderValue=outside)
        return cv2.warpPerspective(
            image, self.matrix, (width, height), flags=flags, borderValue=outside
        )


def random_view(
    shape: tuple[int, ...],
    options: AugmentationOptions,
    rng: np.random.Generator,
    focus: tuple[int, int] | None = None,
) -> View:
    """Crop, zoom, mirror, rotate, shear and skew a frame to `options.size`.

    Args:
        shape: (height, width) of the frame.
        options: see `AugmentationOptions`.
        rng: source of everything random.
        focus: (row, column) of a pixel that the window shall show; rotation, shear and skew, which
            come after, may still move it.
    """
    height, width = options.size
    scale = _fit(shape, options, rng) * np.exp(rng.uniform(*np.log(options.zoom)))
    stretch = float(np.exp(rng.uniform(-options.aspect, options.aspect)))
    scale = scale * (stretch, 1 / stretch)
    matrix = _window(shape, options.size, scale, rng, focus)
    if rng.random() < options.flip:
        matrix = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    matrix = _about_centre(_linear(options, rng), width, height) @ matrix
    return View(_skew(options, rng) @ matrix, scale, options.size)


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
