"""Light and weather: sun, sky, haze and the exposure of the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from camss_ros.street.camera import SceneCamera
from camss_ros.street.textures import fractal_noise

Variant = Literal["day", "dusk", "fog"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)

_SPAN = math.radians(200)  # azimuth covered by the sky picture
_RISE = math.radians(60)  # elevation covered by it
_SKY_HEIGHT, _SKY_WIDTH = 240, 800


@dataclass(frozen=True)
class Atmosphere:
    """Colours are light factors per channel (1 = a white card at full exposure) or RGB 0-255."""

    sun_direction: np.ndarray  # [3], towards the sun
    sun: np.ndarray  # [3], light of the sun
    ambient: np.ndarray  # [3], light of the sky
    haze: np.ndarray  # [3], RGB of what is far away
    density: float  # of the haze, 1/m
    lamps: bool  # headlights, street lamps and windows are lit
    sky: np.ndarray  # uint8 [H, W, 3] panorama
    gain: np.ndarray  # [3], white balance and exposure
    grain: float  # standard deviation of the sensor noise, 0-255

    def shade(self, normals: np.ndarray) -> np.ndarray:
        """Light [N, 3] on faces with normals [N, 3]; zero normals are limbs, lit on average."""
        round_ = (np.abs(normals).sum(axis=1) < 0.5).astype(float)
        facing = np.maximum(normals @ self.sun_direction, 0) + 0.35 * round_
        sky = 0.8 + 0.2 * normals[:, 1]
        return sky[:, None] * self.ambient + facing[:, None] * self.sun

    def clear(self, depth: np.ndarray) -> np.ndarray:
        """Share of the light that comes through `depth` metres of air."""
        return np.exp(-self.density * np.maximum(depth, 0))


def make_atmosphere(variant: Variant, rng: np.random.Generator) -> Atmosphere:
    """Draws a sky and its light for one of the variants."""
    azimuth, height = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 0.9)
    sun_direction = np.array([
        math.sin(azimuth) * math.cos(height), math.sin(height), math.cos(azimuth) * math.cos(height)
    ])  # fmt: skip
    warmth = rng.normal(0, 0.02)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    if variant == "day":
        overcast = rng.random() < 0.4
        cover = rng.uniform(0.75, 1.0) if overcast else rng.uniform(0.0, 0.6)
        zenith = np.array((90, 140, 205)) + rng.normal(0, 10, 3)
        horizon = np.array((206, 222, 238)) + rng.normal(0, 7, 3)
        cloud = np.array((246, 247, 250)) - rng.uniform(0, 46) * overcast
        sky = _paint_sky(rng, zenith, horizon, cloud, cover)
        if rng.random() < 0.3:  # overexposed, as in much of CamVid
            sky = np.clip(sky.astype(float) * 1.12 + 18, 0, 255).astype(np.uint8)
        sun = (0.12 if overcast else rng.uniform(0.55, 0.85)) * np.array((1.0, 0.96, 0.88))
        ambient = (1.05 if overcast else rng.uniform(0.66, 0.85)) * np.array((0.97, 1.0, 1.05))
        haze = horizon * 0.55 + cloud * 0.4
        density, lamps = rng.uniform(0.0006, 0.002), False
        grain = 2.5
    elif variant == "dusk":
        cover = rng.uniform(0.3, 0.8)
        zenith = np.array((70, 86, 124)) + rng.normal(0, 8, 3)
        horizon = np.array((216, 180, 140)) + rng.normal(0, 14, 3)
        cloud = np.array((128, 122, 132)) + rng.normal(0, 12, 3)
        sky = _paint_sky(rng, zenith, horizon, cloud, cover)
        sun = np.zeros(3)
        ambient = rng.uniform(0.3, 0.5) * np.array((0.94, 0.98, 1.1))
        haze = horizon * 0.35 + zenith * 0.25
        density, lamps = rng.uniform(0.0015, 0.003), True
        grain = 4.5
    else:
        haze = rng.uniform(186, 222) * np.array((0.985, 1.0, 1.01))
        sky = _paint_sky(rng, haze - 6, haze, haze + 4, 0.5)
        sun = np.zeros(3)
        ambient = rng.uniform(0.85, 1.0) * np.ones(3)
        density, lamps = rng.uniform(0.014, 0.03), rng.random() < 0.5
        grain = 2.5
    return Atmosphere(
        sun_direction, sun, ambient, haze, float(density), bool(lamps), sky, white, grain
    )


def _paint_sky(
    rng: np.random.Generator,
    zenith: np.ndarray,
    horizon: np.ndarray,
    cloud: np.ndarray,
    cover: float,
) -> np.ndarray:
    """uint8 [H, W, 3]; row 0 is the highest. cover: share of the sky under cloud."""
    height, width = _SKY_HEIGHT, _SKY_WIDTH
    # Channels first: numpy is slow along an axis of three.
    zenith, horizon, cloud = (color[:, None, None] for color in (zenith, horizon, cloud))
    rise = np.linspace(1, 0, height)[:, None]
    sky = horizon + (zenith - horizon) * rise**0.55
    stretched = fractal_noise(rng, height // 2, width, 120, octaves=6)
    noise = cv2.resize(stretched, (width, height))
    level = np.quantile(stretched, 1 - cover)
    thick = np.clip((noise - level) * 2.2, 0, 1)
    body = cloud - 46 * np.clip(noise - level - 0.25, 0, 1)
    return cv2.merge([*np.clip(sky + (body - sky) * thick, 0, 255).astype(np.uint8)])


def draw_sky(image: np.ndarray, camera: SceneCamera, atmosphere: Atmosphere) -> None:
    """Fills the part of the image above the horizon."""
    rows = min(image.shape[0], int(camera.horizon + abs(camera.roll) * image.shape[1]) + 3)
    if rows <= 0:
        return
    per_pixel = 1 / camera.focal
    scale_x = _SKY_WIDTH / _SPAN * per_pixel
    scale_y = _SKY_HEIGHT / _RISE * per_pixel
    left = _SKY_WIDTH / 2 + (camera.yaw - camera.width / 2 * per_pixel) * _SKY_WIDTH / _SPAN
    # A camera that leans to the right sees the horizon fall to the left, about its middle.
    lean = camera.roll * scale_y
    top = _SKY_HEIGHT - 1 - camera.horizon * scale_y - lean * camera.width / 2
    move = np.array([[scale_x, 0, left], [lean, scale_y, top]])
    image[:rows] = cv2.warpAffine(
        atmosphere.sky, move, (image.shape[1], rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
