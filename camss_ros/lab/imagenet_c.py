"""The 15 corruptions of ImageNet-C (arXiv 1903.12261), from `imagecorruptions-imaug`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from camss_ros.errors import CamssError

_TAKES_SEED = ("impulse_noise", "glass_blur")  # these do not draw from NumPy's global generator

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "gaussian_noise": ("sigma 20.4", "sigma 30.6", "sigma 45.9", "sigma 66.3", "sigma 96.9"),
    "shot_noise": (
        "4.25 levels a photon (60 at 255)",
        "10.2 levels a photon (25 at 255)",
        "21.3 levels a photon (12 at 255)",
        "51 levels a photon (5 at 255)",
        "85 levels a photon (3 at 255)",
    ),
    "impulse_noise": ("3 % of values", "6 %", "9 %", "17 %", "27 %"),
    "defocus_blur": ("radius 3 px", "4 px", "6 px", "8 px", "10 px"),
    "glass_blur": (
        "sigma 0.7 px, shift 1 px twice",
        "0.9 px, 2 px once",
        "1 px, 2 px three times",
        "1.1 px, 3 px twice",
        "1.5 px, 4 px twice",
    ),
    "motion_blur": (
        "radius 10 px, sigma 3 px",
        "15 px, 5 px",
        "15 px, 8 px",
        "15 px, 12 px",
        "20 px, 15 px",
    ),
    "zoom_blur": ("zoom to 1.10", "to 1.15", "to 1.20", "to 1.24", "to 1.30"),
    "snow": (
        "layer mean 25.5, cut 127.5",
        "layer mean 51, cut 127.5",
        "layer mean 140, cut 229.5",
        "layer mean 140, cut 216.8",
        "layer mean 140, cut 216.8, longer streaks",
    ),
    "frost": (
        "1.00 image + 0.40 frost",
        "0.80 + 0.60",
        "0.70 + 0.70",
        "0.65 + 0.70",
        "0.60 + 0.75",
    ),
    "fog": ("+ up to 382.5, rescaled", "510", "637.5", "637.5, rougher", "765"),
    "brightness": ("value + 25.5", "+ 51", "+ 76.5", "+ 102", "+ 127.5"),
    "contrast": ("factor 0.4", "0.3", "0.2", "0.1", "0.05"),
    "elastic_transform": (
        "alpha 12.5",
        "alpha 16.25",
        "alpha 21.25",
        "alpha 25",
        "alpha 30",
    ),
    "pixelate": ("60 % of the size", "50 %", "40 %", "30 %", "25 %"),
    "jpeg_compression": ("quality 25", "18", "15", "10", "7"),
}
"""By kind: what the package does at severity 1 to 5, on the 0-255 scale."""


def load_package() -> Callable[..., np.ndarray]:
    """The package's function; raises CamssError, which says how to install it, without it."""
    try:
        from imagecorruptions import corrupt
    except ImportError as error:
        raise CamssError(
            "the ImageNet-C corruptions need a package that is installed without its "
            "dependencies, since they would replace opencv-python-headless: pip install "
            "scikit-image scipy numba and pip install --no-deps imagecorruptions-imaug==1.1.5"
        ) from error
    return corrupt


def imagenet_c(image: np.ndarray, kind: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The image with a corruption, uint8 [H, W, 3] RGB.

    Args:
        image: uint8 [H, W, 3] RGB, at least 32 x 32.
        kind: of `SETTINGS`.
        severity: 1 to 5.
        rng: what all that is random follows from.

    Raises:
        CamssError: the package is not installed.
        ValueError: the image is too small.
    """
    corrupt = load_package()
    if min(image.shape[:2]) < 32:
        height, width = image.shape[:2]
        raise ValueError(f"an image of {width} x {height} is too small: expected at least 32 x 32")
    seed = int(rng.integers(2**32))
    seeding = {"seed": seed} if kind in _TAKES_SEED else {}
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        return corrupt(image, severity, kind, **seeding)
    finally:
        np.random.set_state(state)
