"""Augmentation of labelled images for training (paper section 4.1).

Geometry moves image and label alike (`random_geometry.py`); photometry changes the image alone
(`random_photometry.py`). The result is a function of the generator alone: seed it for each sample,
`np.random.default_rng([seed, sample])`, and it does not matter which worker draws it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camss_ros.datasets.random_geometry import random_view
from camss_ros.datasets.random_photometry import random_photometry

_RANGES = ("crop", "zoom", "gaussian_noise", "salt_and_pepper", "gaussian_blur", "motion_blur")
_PROBABILITIES = (
    "flip",
    "crop_probability",
    "color_jitter_probability",
    "gaussian_noise_probability",
    "salt_and_pepper_probability",
    "gaussian_blur_probability",
    "motion_blur_probability",
    "hide_and_seek_probability",
    "hide_and_seek",
)
_STRENGTHS = ("aspect", "rotation", "shear", "skew", "recolour", "color_jitter", "hue_jitter")


def _check(name: str, value: object, good: object, expected: str) -> None:
    if not good:
        raise ValueError(f"augmentation option {name} is {value}: expected {expected}")


@dataclass(frozen=True)
class AugmentationOptions:
    """What is drawn at random, how often and how strongly. A pair is a uniform range.

    The defaults are the bundled model's first recipe (config/train has today's); `PAPER` has all
    that the paper names.

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
        for name in _RANGES:
            low, high = getattr(self, name)
            _check(name, (low, high), 0 < low <= high, "two numbers above 0, in ascending order")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            _check(name, value, 0 <= value <= 1, "0 to 1")
        for name in _STRENGTHS:
            value = getattr(self, name)
            _check(name, value, value >= 0, "0 or more")
        _check("skew", self.skew, self.skew < 0.25, "less than 0.25")
        _check("color_jitter", self.color_jitter, self.color_jitter <= 1, "0 to 1")
        cells = self.hide_and_seek_cells
        _check("hide_and_seek_cells", cells, cells and min(cells) >= 1, "sides of at least 1 pixel")


PAPER = AugmentationOptions(
    size=(768, 768),
    crop_probability=1.0,
    zoom=(0.9, 1.25),
    rotation=5.0,
    shear=3.0,
    skew=0.05,
    recolour=0.0,
    color_jitter_probability=0.5,
    gaussian_noise_probability=0.2,
    salt_and_pepper_probability=0.1,
    gaussian_blur_probability=0.2,
    motion_blur_probability=0.1,
    hide_and_seek_probability=0.2,
)
"""Every augmentation that the paper names. It states the range of the crop; the rest is chosen."""


def augment(
    image: np.ndarray,
    label: np.ndarray,
    options: AugmentationOptions,
    rng: np.random.Generator,
    focus: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented version of a labelled image.

    Args:
        image: uint8 [H, W, 3] RGB.
        label: uint8 [H, W], 255 where void.
        options: see `AugmentationOptions`.
        rng: source of everything random.
        focus: (row, column) of a pixel that the window shall show; rotation, shear and skew, which
            come after, may still move it.

    Returns:
        Image uint8 [h, w, 3] and label uint8 [h, w] of `options.size`; what lies outside the
        frame is grey, before the photometry, and void.
    """
    view, view_label = random_view(image, label, options, rng, focus)
    return random_photometry(view, options, rng), view_label
