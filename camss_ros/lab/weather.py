"""Weather and night by continuous knobs, on images without depth.

Fog, rain and snow dim what is far. The depth is a proxy, the same for every image: a camera
1.5 m above a flat road, looking along a street with walls 10 m to its left and right, its horizon
in the middle of the image, its focal length 0.95 of the width; nothing is further than 200 m.
"""

from __future__ import annotations

import cv2
import numpy as np

from camss_ros.datasets.image_noise import line_kernel, to_uint8

_HEIGHT, _WALL, _FAR = 1.5, 10.0, 200.0  # metres
_FOCAL = 0.95  # of the image width
_AIR = np.array([214, 218, 222], np.float32)  # light of dense fog, RGB 0-255
_CONTRAST_THRESHOLD = 3.912  # -ln 0.02: what is visible has 2 % contrast left (Koschmieder)


def street_depth(height: int, width: int) -> np.ndarray:
    """float32 [H, W]: the depth proxy in metres."""
    focal = _FOCAL * width
    below = np.maximum(np.arange(height, dtype=np.float32) - (height - 1) / 2, 1e-3)[:, None]
    aside = np.maximum(np.abs(np.arange(width, dtype=np.float32) - (width - 1) / 2), 1e-3)[None]
    depth = np.minimum(_HEIGHT * focal / below, _WALL * focal / aside)
    return np.minimum(depth, _FAR).astype(np.float32)


def fog(image: np.ndarray, visibility: float) -> np.ndarray:
    """Fog by Koschmieder's law.

    Args:
        image: uint8 [H, W, 3] RGB, as of all that follow, and as what they return.
        visibility: metres at which dark objects vanish.
    """
    depth = street_depth(*image.shape[:2])
    clear = np.exp(-_CONTRAST_THRESHOLD / np.float32(visibility) * depth)[..., None]
    return to_uint8(image * clear + _AIR * (1 - clear))


def rain(image: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Rain of `rate` mm/h: what is far is dimmed, streaks fall in one direction.

    Extinction 0.312 R^0.67 per km (Halder et al., ICCV 2019). The streaks are drawn, not derived:
    one in 25,000 pixels for each mm/h begins one, 6 % of the image height long, within 15 degrees
    of the vertical.
    """
    height, width = image.shape[:2]
    seen = fog(image, _CONTRAST_THRESHOLD / (0.312 * rate**0.67) * 1000)
    drops = (rng.random((height, width), np.float32) < 4e-5 * rate).astype(np.float32)
    length = max(3.0, 0.06 * height)
    streaks = cv2.filter2D(drops, -1, line_kernel(length, 90 + rng.uniform(-15, 15))) * length
    opacity = 0.35 * np.minimum(cv2.GaussianBlur(streaks, (0, 0), 0.5), 1)[..., None]
    return to_uint8(seen * (1 - opacity) + 225 * opacity)


def snow(image: np.ndarray, visibility: float, rng: np.random.Generator) -> np.ndarray:
    """Snowfall of a `visibility` in metres: a veil as in fog, and flakes.

    At 100 m, 400 flakes for each 480 x 360 pixels, of a radius up to 0.7 % of the image height.
    """
    height, width = image.shape[:2]
    seen = fog(image, visibility)
    flakes = np.zeros((height, width), np.uint8)
    for _ in range(round(40000 / visibility * height * width / (480 * 360))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        radius = max(0.5, 0.007 * height * rng.random() ** 2)
        centre = round(16 * x), round(16 * y)
        cv2.circle(flakes, centre, round(16 * radius), 255, -1, cv2.LINE_AA, shift=4)
    opacity = 0.9 * cv2.GaussianBlur(flakes, (0, 0), 0.6).astype(np.float32)[..., None] / 255
    return to_uint8(seen * (1 - opacity) + 245 * opacity)


def night(image: np.ndarray, light: float, rng: np.random.Generator) -> np.ndarray:
    """The scene with `light` (0-1) of its light, bluish, as a camera at a limited gain shows it.

    In linear light (gamma 2.2): times `light`; shot noise of a sensor that holds 2000 electrons at
    255 and read noise of 4; then a gain of `light`^-0.5, so that half of the loss, in stops, stays.
    """
    full_well, read = np.float32(2000), np.float32(4)
    tint = np.array([0.8, 0.9, 1.0], np.float32)
    electrons = (image.astype(np.float32) / 255) ** np.float32(2.2) * tint * (light * full_well)
    noise = rng.standard_normal(image.shape, np.float32) * np.sqrt(electrons + read**2)
    linear = np.clip((electrons + noise) / full_well, 0, None) / np.sqrt(np.float32(light))
    return to_uint8(linear ** np.float32(1 / 2.2) * 255)
