"""Procedural street scenes with exact labels: input for tests, the demo and training.

No file and no network is needed; everything follows from the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.street.camera import SceneCamera
from camss_ros.street.depth import DepthPicture
from camss_ros.street.light import VARIANTS, Atmosphere, Variant, make_atmosphere
from camss_ros.street.render import render
from camss_ros.street.road import Road
from camss_ros.street.world import Street

FRAME_RATE = 15.0
"""Frames per second of a `SyntheticStreet`, as in the CamVid clips."""

_START = 1000.0  # metres; the street is endless in both directions
_FIELD_OF_VIEW = 0.95  # focal length as a share of the image width
_SMALLEST = 16


def _check(seed: int, height: int, width: int) -> None:
    if seed < 0:
        raise ValueError(f"seed {seed} is negative: expected 0 or more")
    if height < _SMALLEST or width < _SMALLEST:
        raise ValueError(
            f"image size {height} x {width} (height x width) is too small: "
            f"expected at least {_SMALLEST} pixels each way"
        )


def _shadow(atmosphere: Atmosphere) -> tuple[float, float] | None:
    if atmosphere.sun.max() <= 0.25:
        return None
    x, y, z = atmosphere.sun_direction
    return float(-x / y), float(-z / y)


def _expose(
    image: np.ndarray, atmosphere: Atmosphere, rng: np.random.Generator, gamma: float = 1.0
) -> np.ndarray:
    """White balance, gamma, vignette and sensor noise; uint8 [H, W, 3] -> the same."""
    height, width = image.shape[:2]
    levels = (np.arange(256) / 255.0) ** gamma * 255.0
    table = np.clip(levels[:, None] * atmosphere.gain, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(1, 256, 3))
    cv2.multiply(image, _vignette(height, width), image, scale=1 / 255)
    shift = rng.integers(0, (height, width))
    noise = np.roll(_noise(height, width), shift, axis=(0, 1)) * np.float32(atmosphere.grain)
    return cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U)


@lru_cache(maxsize=2)
def _vignette(height: int, width: int) -> np.ndarray:
    rows = np.linspace(-1, 1, height)[:, None] ** 2
    columns = np.linspace(-1, 1, width)[None] ** 2
    return cv2.merge([np.round(255 * (1 - 0.07 * (rows + columns))).astype(np.uint8)] * 3)


@lru_cache(maxsize=2)
def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(44).standard_normal((height, width), np.float32)


@dataclass(frozen=True)
class ViewShift:
    """How a camera is mounted otherwise than usual.

    `height` and `lateral` (to the right) in metres, `pitch` (down) and `roll` (clockwise) in
    degrees.
    """

    height: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    lateral: float = 0.0


class SyntheticStreet:
    """A drive along an endless street at 15 frames per second.

    `frame(i)` depends on the arguments and on i alone, so frames may be taken in any order.

    Raises ValueError for an unknown variant, a negative seed or a size below 16 pixels.
    """

    def __init__(
        self, seed: int = 0, variant: Variant = "day", height: int = 360, width: int = 480
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}: expected one of {', '.join(VARIANTS)}")
        _check(seed, height, width)
        self.seed, self.height, self.width = seed, height, width
        rng = np.random.default_rng((41, seed))
        self._atmosphere = make_atmosphere(variant, rng)
        self.street = Street(Road(seed, shadow=_shadow(self._atmosphere)))
        self._speed = float(rng.uniform(6.5, 9.0))

    def frame(self, i: int, shift: ViewShift = ViewShift()) -> tuple[np.ndarray, np.ndarray]:
        """A frame.

        Args:
            i: its number, from 0.
            shift: moves the camera and nothing else.

        Returns:
            Image uint8 [H, W, 3] RGB and label uint8 [H, W] (CamVid 11 ids, 255 void).

        Raises:
            IndexError: i is negative.
        """
        camera, time = self.camera(i, shift), i / FRAME_RATE
        image, label = _render_rolled(self.street, camera, self._atmosphere, time, shift.roll)
        return self._exposed(image, i), label

    def frame_with_depth(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `frame`, and the depth, float32 [H, W] metres along the optical axis of `camera(i)`,
        NaN for the sky and what is behind the end of the street."""
        camera, time = self.camera(i), i / FRAME_RATE
        depth = DepthPicture(self.height, self.width)
        image, label = render(self.street, camera, self._atmosphere, time, depth)
        return self._exposed(image, i), label, depth.metres(camera)

    def _exposed(self, image: np.ndarray, i: int) -> np.ndarray:
        return _expose(image, self._atmosphere, np.random.default_rng((42, self.seed, i)))

    def camera(self, i: int, shift: ViewShift = ViewShift()) -> SceneCamera:
        """The camera of frame i, but for the roll of `shift`. Raises IndexError for i < 0."""
        if i < 0:
            raise IndexError(f"frame {i}: frames are numbered from 0")
        time = i / FRAME_RATE
        road = self.street.road
        z = _START + self._speed * time
        sway = 0.12 * math.sin(0.7 * time) + 0.05 * math.sin(1.9 * time + 1)
        return SceneCamera(
            x=road.centre(z) - road.lane / 2 + sway + shift.lateral,
            y=1.4 + 0.012 * math.sin(6.1 * time) + shift.height,
            z=z,
            yaw=road.heading(z + 4) + 0.012 * math.sin(0.5 * time + self.seed),
            pitch=0.004 * math.sin(3.7 * time) + math.radians(shift.pitch),
            roll=0.004 * math.sin(1.3 * time + 2),
            focal=_FIELD_OF_VIEW * self.width,
            height=self.height,
            width=self.width,
        )


def _render_rolled(
    street: Street, camera: SceneCamera, atmosphere: Atmosphere, time: float, roll: float
) -> tuple[np.ndarray, np.ndarray]:
    """Renders with `roll` more degrees, exactly: rolling a pinhole camera turns its picture.

    The renderer itself draws sky and haze for small angles only.
    """
    if roll == 0:
        return render(street, camera, atmosphere, time)
    height, width = camera.height, camera.width
    cos, sin = abs(math.cos(math.radians(roll))), abs(math.sin(math.radians(roll)))
    margin_x = math.ceil(max(0.0, width * cos + height * sin - width) / 2) + 2
    margin_y = math.ceil(max(0.0, width * sin + height * cos - height) / 2) + 2
    larger = replace(camera, height=height + 2 * margin_y, width=width + 2 * margin_x)
    image, label = render(street, larger, atmosphere, time)
    centre = (larger.width - 1) / 2, (larger.height - 1) / 2
    cut = np.array([[0, 0, margin_x], [0, 0, margin_y]])
    turn = cv2.getRotationMatrix2D(centre, roll, 1.0) - cut
    return (
        cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR),
        cv2.warpAffine(label, turn, (width, height), flags=cv2.INTER_NEAREST),
    )


def random_scene(seed: int, height: int = 360, width: int = 480) -> tuple[np.ndarray, np.ndarray]:
    """One scene for training, with street, weather, camera, density and exposure drawn at random.

    Args:
        seed: of all that is drawn, 0 or more.
        height, width: of the image, 16 pixels or more each.

    Returns:
        Image uint8 [H, W, 3] RGB and label uint8 [H, W] (CamVid 11 ids, 255 void).

    Raises:
        ValueError: seed or size are out of these ranges.
    """
    _check(seed, height, width)
    rng = np.random.default_rng((43, seed))
    variant = VARIANTS[rng.choice(len(VARIANTS), p=(0.6, 0.25, 0.15))]
    atmosphere = make_atmosphere(variant, rng)
    gain = atmosphere.gain * rng.uniform(0.85, 1.2) * (1 + rng.normal(0, 0.03, 3))
    atmosphere = replace(atmosphere, gain=gain, grain=float(rng.uniform(1, 7)))
    road = Road(
        int(rng.integers(1 << 30)),
        shadow=_shadow(atmosphere),
        density=float(rng.uniform(0.3, 1.9)),
        crossing=rng.random() < 0.4,
    )
    z = float(rng.uniform(0, 20000))
    camera = SceneCamera(
        x=road.centre(z) + float(rng.normal(-road.lane / 2, 0.7)),
        y=float(rng.uniform(1.15, 2.0)),
        z=z,
        yaw=road.heading(z + 4) + float(rng.normal(0, 0.1)),
        pitch=float(rng.normal(0.0, 0.035)),
        roll=float(rng.normal(0, 0.012)),
        focal=_FIELD_OF_VIEW * width * float(rng.uniform(0.75, 1.35)),
        height=height,
        width=width,
    )
    image, label = render(Street(road), camera, atmosphere, time=float(rng.uniform(0, 600)))
    if rng.random() < 0.3:
        _draw_bonnet(image, label, rng)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.9)))
    image = _expose(image, atmosphere, rng, gamma=float(rng.uniform(0.8, 1.3)))
    if rng.random() < 0.5:  # traffic that keeps to the right
        image, label = image[:, ::-1].copy(), label[:, ::-1].copy()
    return image, label


def _draw_bonnet(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> None:
    """The bonnet of the own car at the lower edge, without a class, as in CamVid."""
    height, width = label.shape
    centre = (int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(1.02, 1.1)))
    axes = (int(width * rng.uniform(0.5, 0.8)), int(height * rng.uniform(0.06, 0.16)))
    shade = float(rng.uniform(10, 70))
    cv2.ellipse(image, centre, axes, 0, 0, 360, (shade, shade, shade + 4), -1, cv2.LINE_AA)
    cv2.ellipse(label, centre, axes, 0, 0, 360, VOID, -1)
