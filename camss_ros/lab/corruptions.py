"""Corruptions by name and level: the CAM-Seg paper's, those of ImageNet-C, weather and night.

    image = corrupt(image, CORRUPTIONS["fog_visibility"], level=2, frame="0016E5_07959")

docs/robustness.md describes each one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from camss_ros.datasets import image_noise
from camss_ros.lab import weather
from camss_ros.lab.imagenet_c import SETTINGS, imagenet_c

PAPER_HEIGHT = 768  # pixels of the frames that the paper blurs

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Attributes:
        name: in the registry.
        group: "paper", "paper_scaled" (lengths scaled with the frame), "imagenet_c" or "weather".
        values: the knob at each level.
        settings: each level as text, in units of the 0-255 scale, pixels or what is named.
        change: (image uint8 [H, W, 3] RGB, value, generator) -> image.
    """

    name: str
    group: str
    values: tuple[float, ...]
    settings: tuple[str, ...]
    change: Change


def corrupt(
    image: np.ndarray, corruption: Corruption, level: int, frame: str, seed: int = 0
) -> np.ndarray:
    """The image with a corruption, uint8 [H, W, 3] RGB.

    What is random follows from (seed, frame, corruption, level) alone.

    Args:
        image: uint8 [H, W, 3] RGB.
        level: 1 to the number of the corruption's values.
        frame: name of the image.

    Raises:
        ValueError: there is no such level.
    """
    if not 1 <= level <= len(corruption.values):
        raise ValueError(
            f"{corruption.name} has no level {level}: expected 1 to {len(corruption.values)}"
        )
    names = (zlib.crc32(frame.encode()), zlib.crc32(corruption.name.encode()))
    rng = np.random.default_rng([seed, *names, level])
    return corruption.change(image, corruption.values[level - 1], rng)


def _motion_blur(image: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    return image_noise.motion_blur(image, length, rng.uniform(0, 180))


def _scaled(change: Change) -> Change:
    """A change whose length is one of a frame `PAPER_HEIGHT` high, scaled with the frame's."""
    return lambda image, value, rng: change(image, value * image.shape[0] / PAPER_HEIGHT, rng)


def _fixed(change: Callable[[np.ndarray, float], np.ndarray]) -> Change:
    """A change without anything random."""
    return lambda image, value, rng: change(image, value)


def _make(
    name: str, group: str, values: tuple[float, ...], text: str, change: Change
) -> Corruption:
    settings = tuple(text.format(100 * value if "%" in text else value) for value in values)
    return Corruption(name, group, values, settings, change)


def _imagenet_c(kind: str) -> Corruption:
    def change(image: np.ndarray, value: float, rng: np.random.Generator) -> np.ndarray:
        return imagenet_c(image, kind, int(value), rng)

    return Corruption(f"c_{kind}", "imagenet_c", (1, 2, 3, 4, 5), SETTINGS[kind], change)


_paper = partial(_make, group="paper")
_paper_scaled = partial(_make, group="paper_scaled")
_weather = partial(_make, group="weather")
_FACTORS = (0.5, 0.75, 1.25, 1.5)
_LENGTHS = (21, 51, 105, 151)
_SIGMAS = (1, 2, 3, 5, 8)

_ALL = (
    _paper(
        "gaussian_noise", values=(5, 10, 25, 50, 75, 100), text="sigma {:g}",
        change=image_noise.gaussian_noise,
    ),
    _paper(
        "salt_and_pepper", values=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), text="{:g} % of pixels",
        change=image_noise.salt_and_pepper,
    ),
    _paper("motion_blur", values=_LENGTHS, text="{:g} px", change=_motion_blur),
    _paper(
        "gaussian_blur", values=_SIGMAS, text="sigma {:g} px",
        change=_fixed(image_noise.gaussian_blur),
    ),
    _paper(
        "brightness", values=_FACTORS, text="factor {:g}", change=_fixed(image_noise.brightness)
    ),
    _paper("contrast", values=_FACTORS, text="factor {:g}", change=_fixed(image_noise.contrast)),
    _paper(
        "saturation", values=(0, 0.5, 1.5, 2), text="factor {:g}",
        change=_fixed(image_noise.saturation),
    ),
    _paper(
        "hue", values=(-0.2, -0.1, 0.1, 0.2), text="{:+g} turn", change=_fixed(image_noise.hue)
    ),
    _paper_scaled(
        "motion_blur_scaled", values=_LENGTHS, text="{:g} px of 768", change=_scaled(_motion_blur)
    ),
    _paper_scaled(
        "gaussian_blur_scaled", values=_SIGMAS, text="sigma {:g} px of 768",
        change=_scaled(_fixed(image_noise.gaussian_blur)),
    ),
    *(_imagenet_c(kind) for kind in SETTINGS),
    _weather(
        "fog_visibility", values=(400, 200, 100, 50, 25), text="{:g} m",
        change=_fixed(weather.fog),
    ),
    _weather("rain_rate", values=(5, 25, 50, 100, 200), text="{:g} mm/h", change=weather.rain),
    _weather(
        "snow_visibility", values=(800, 400, 200, 100, 50), text="{:g} m", change=weather.snow
    ),
    _weather(
        "night", values=(0.5, 0.25, 0.1, 0.05, 0.02), text="{:g} % of the light",
        change=weather.night,
    ),
)  # fmt: skip

CORRUPTIONS: Mapping[str, Corruption] = {corruption.name: corruption for corruption in _ALL}
