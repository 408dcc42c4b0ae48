"""Random light, lens and sensor: changes of the image that leave its label alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from camss_ros.datasets import image_noise

if TYPE_CHECKING:
    from camss_ros.datasets.augmentation import AugmentationOptions


def random_photometry(
    image: np.ndarray, options: AugmentationOptions, rng: np.random.Generator
) -> np.ndarray:
    """Change an image uint8 [H, W, 3] RGB as `options` say: light first, then lens, then sensor."""

    def happens(probability: float) -> bool:
        return probability > 0 and bool(rng.random() < probability)

    if options.recolour > 0:
        image = recolour(image, options.recolour, rng)
    if happens(options.color_jitter_probability):
        image = _color_jitter(image, options, rng)
    if happens(options.gaussian_blur_probability):
        image = image_noise.gaussian_blur(image, rng.uniform(*options.gaussian_blur))
    if happens(options.motion_blur_probability):
        angle = rng.uniform(0.0, 180.0)
        image = image_noise.motion_blur(image, rng.uniform(*options.motion_blur), angle)
    if happens(options.gaussian_noise_probability):
        image = image_noise.gaussian_noise(image, rng.uniform(*options.gaussian_noise), rng)
    if happens(options.salt_and_pepper_probability):
        image = image_noise.salt_and_pepper(image, rng.uniform(*options.salt_and_pepper), rng)
    if happens(options.hide_and_seek_probability):
        cell = int(rng.choice(options.hide_and_seek_cells))
        image = image_noise.hide_patches(image, cell, options.hide_and_seek, rng)
    return image


def _color_jitter(
    image: np.ndarray, options: AugmentationOptions, rng: np.random.Generator
) -> np.ndarray:
    """Brightness, contrast, saturation and hue in random order, as torchvision's ColorJitter."""
    strength = options.color_jitter
    for index in rng.permutation(3):
        change = (image_noise.brightness, image_noise.contrast, image_noise.saturation)[index]
        image = change(image, rng.uniform(1 - strength, 1 + strength))
    return image_noise.hue(image, rng.uniform(-options.hue_jitter, options.hue_jitter))


def recolour(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Random exposure, contrast, white balance, saturation, blur and noise; uint8 in and out."""
    x = image.astype(np.float32) / 255.0
    x = x ** float(np.exp(rng.normal(0.0, 0.25 * strength)))
    x *= np.exp(rng.normal(0.0, 0.12 * strength)) * np.exp(rng.normal(0.0, 0.06 * strength, 3))
    mean = x.mean()
    x = (x - mean) * np.float32(np.exp(rng.normal(0.0, 0.15 * strength))) + mean
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = grey[..., None] + (x - grey[..., None]) * np.float32(
        np.exp(rng.normal(0.0, 0.25 * strength))
    )
    if rng.random() < 0.15 * strength:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < 0.2 * strength:
        x += rng.uniform(0.01, 0.05) * rng.standard_normal(x.shape, dtype=np.float32)
    return image_noise.to_uint8(x * 255.0)
