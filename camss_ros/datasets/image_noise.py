"""What cameras and light do to an image: noise, blur, colour (training: `photometry.py`).

Every function takes and returns uint8 [H, W, 3] RGB, and leaves its argument as it is. Strengths
are in units of the 0-255 scale and in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as OpenCV and Pillow


def gaussian_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Add independent normal noise of deviation `sigma` (0-255) to every value."""
    noise = rng.standard_normal(image.shape, np.float32)
    return to_uint8(image + np.float32(sigma) * noise)


def salt_and_pepper(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Turn `share` (0-1) of the pixels white or black, each with equal odds."""
    draw = rng.random(image.shape[:2], np.float32)
    result = image.copy()
    result[draw < share] = 255
    result[draw < share / 2] = 0
    return result


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of deviation `sigma` pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0 else image.copy()


def motion_blur(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Average along a line of `length` pixels, `angle` degrees clockwise from the image's right."""
    return cv2.filter2D(image, -1, line_kernel(length, angle), borderType=cv2.BORDER_REFLECT_101)


def line_kernel(length: float, angle: float) -> np.ndarray:
    """float32 [k, k], sum 1: a line one pixel thick through the middle, smooth at any angle."""
    half = max(0.0, (length - 1) / 2)
    size = 2 * int(np.ceil(half)) + 1
    y, x = np.mgrid[:size, :size].astype(np.float32) - size // 2
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    beyond = np.maximum(np.abs(x * cos + y * sin) - half, 0)
    distance = np.hypot(beyond, x * sin - y * cos)
    kernel = np.maximum(1 - distance, 0).astype(np.float32)
    return kernel / kernel.sum()


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply by `factor`; 1 changes nothing."""
    return to_uint8(image * np.float32(factor))


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the difference from the mean grey of the image by `factor`."""
    mean = np.float32((image @ _GREY).mean())
    return to_uint8((image - mean) * np.float32(factor) + mean)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the difference from the pixel's grey by `factor`; 0 makes the image grey."""
    grey = (image @ _GREY)[..., None]
    return to_uint8(grey + (image - grey) * np.float32(factor))


def hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by `shift` of the colour circle, -0.5 to 0.5."""
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(360 * shift), 360)
    return to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Clip to 0-255 and round."""
    return (np.clip(values, 0, 255) + 0.5).astype(np.uint8)
