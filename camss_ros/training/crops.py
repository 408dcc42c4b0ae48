"""Random training crops of labelled images: geometry on both, photometry on the image alone."""

from dataclasses import dataclass

import cv2
import numpy as np

from camss_ros.model.label_class import VOID


@dataclass(frozen=True)
class CropOptions:
    """Ranges of the augmentation.

    Attributes:
        size: (height, width) of a crop, multiples of 16.
        scale: smallest and largest zoom, log-uniform.
        photometric: strength of brightness, contrast, colour, blur and noise; 0 for none.
    """

    size: tuple[int, int] = (288, 288)
    scale: tuple[float, float] = (0.6, 1.7)
    photometric: float = 0.8


def random_crop(
    image: np.ndarray,
    label: np.ndarray,
    options: CropOptions,
    rng: np.random.Generator,
    focus: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Zoom, crop, mirror and recolour one labelled image.

    Args:
        image: uint8 [H, W, 3] RGB.
        label: uint8 [H, W], 255 where void.
        options: see `CropOptions`.
        rng: source of everything random.
        focus: (row, column) of a pixel that the crop shall contain, but for the rotation.

    Returns:
        Image uint8 [h, w, 3] and label uint8 [h, w] of `options.size`; what lies outside the
        frame is grey and void.
    """
    height, width = options.size
    zoom = float(np.exp(rng.uniform(*np.log(options.scale))))
    aspect = float(np.exp(rng.uniform(-0.1, 0.1)))
    zoom_x, zoom_y = zoom * aspect, zoom / aspect
    span_x = label.shape[1] * zoom_x - width
    span_y = label.shape[0] * zoom_y - height
    left = _place(span_x, width, None if focus is None else focus[1] * zoom_x, rng)
    top = _place(span_y, height, None if focus is None else focus[0] * zoom_y, rng)
    transform = np.array([[zoom_x, 0, -left], [0, zoom_y, -top]])
    if rng.random() < 0.5:
        transform = np.array([[-1, 0, width - 1], [0, 1, 0]]) @ np.vstack([transform, [0, 0, 1]])
    angle = np.deg2rad(rng.normal(0.0, 2.0))
    cos, sin = np.cos(angle), np.sin(angle)
    center = np.array([width / 2, height / 2])
    rotation = np.array([[cos, -sin], [sin, cos]])
    offset = center - rotation @ center
    transform = np.hstack(
        [rotation @ transform[:, :2], (rotation @ transform[:, 2] + offset)[:, None]]
    )
    # Area-like smoothing before a reduction, as a camera with fewer pixels would have it.
    if zoom < 0.9:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / zoom)
    crop = cv2.warpAffine(
        image, transform, (width, height), flags=cv2.INTER_LINEAR, borderValue=(127, 127, 127)
    )
    crop_label = cv2.warpAffine(
        label, transform, (width, height), flags=cv2.INTER_NEAREST, borderValue=VOID
    )
    if options.photometric > 0:
        crop = recolour(crop, options.photometric, rng)
    return crop, crop_label


def _place(span: float, length: int, focus: float | None, rng: np.random.Generator) -> float:
    """Random offset of a crop that may slide by `span`; with `focus` it holds that coordinate."""
    low, high = min(0.0, span), max(0.0, span)
    if focus is not None and span > 0:
        low, high = max(low, focus - 0.9 * length), min(high, focus - 0.1 * length)
        low, high = min(low, span), max(high, 0.0)
    return rng.uniform(min(low, high), max(low, high))


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
    return (np.clip(x, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
