"""Drawn textures of plants: leafy and bare crowns of trees, hedges."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from camss_ros.street.textures import Texture


def _leaf_colors(rng: np.random.Generator) -> np.ndarray:
    base = np.array(((70, 92, 38), (54, 78, 34), (92, 104, 48), (46, 62, 36), (110, 96, 44),
                     (62, 84, 52))[rng.integers(6)], float)  # fmt: skip
    return base + rng.normal(0, 6, 3)


def _foliage(
    rng: np.random.Generator, size: tuple[int, int], blobs: np.ndarray, radius: float, count: int
) -> Texture:
    """Leaves in clumps around blobs (columns x, y, r in pixels); light comes from above."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    color = _leaf_colors(rng)
    chosen = blobs[rng.integers(len(blobs), size=count)]
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
    x = chosen[:, 0] + np.cos(angle) * reach * chosen[:, 2]
    y = chosen[:, 1] + np.sin(angle) * reach * chosen[:, 2]
    # Clumps are bright on their upper side and the crown is dark underneath.
    light = 1.0 - 0.45 * np.sin(angle) * reach - 0.35 * (y / height - 0.5) - 0.25
    light += rng.normal(0, 0.14, count)
    order = np.argsort(light + rng.normal(0, 0.3, count))
    for i in order:
        shade = np.clip(color * max(0.18, light[i]) * 1.15, 0, 255).tolist()
        centre, r = (int(x[i]), int(y[i])), int(max(1, radius * rng.uniform(0.5, 1.3)))
        cv2.circle(image, centre, r, shade, -1)
        cv2.circle(alpha, centre, r, 255, -1)
    grain = rng.normal(0, 9, (height, width, 1))
    leaves = np.clip(image + grain, 0, 255).astype(np.uint8)
    outline = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return Texture(leaves, alpha, outline)


@lru_cache(maxsize=24)
def crown(design: int) -> Texture:
    """A leafy crown (even designs) or the bare branches of winter (odd ones), 256 x 256."""
    rng = np.random.default_rng((15, design))
    return _bare_crown(rng) if design % 2 else _leafy_crown(rng)


def _leafy_crown(rng: np.random.Generator) -> Texture:
    count = int(rng.integers(9, 18))
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
    tall = rng.uniform(0.8, 1.0)
    r = rng.uniform(26, 44, count)
    x = 128 + np.cos(angle) * reach * (84 * rng.uniform(0.8, 1.0))
    y = 128 + np.sin(angle) * reach * 84 * tall
    return _foliage(rng, (256, 256), np.stack([x, y, r], axis=1), 4.0, 1500)


def _bare_crown(rng: np.random.Generator) -> Texture:
    size = 256
    image = np.zeros((size, size, 3), np.uint8)
    alpha = np.zeros((size, size), np.uint8)
    color = np.array((76, 70, 58)) + rng.normal(0, 8, 3)
    stack = [(128.0, 255.0, -np.pi / 2, 50.0, 5.0)]
    while stack:
        x, y, angle, length, thick = stack.pop()
        end_x, end_y = x + np.cos(angle) * length, y + np.sin(angle) * length
        shade = np.clip(color * rng.uniform(0.8, 1.2), 0, 255).tolist()
        points = (int(x), int(y)), (int(end_x), int(end_y))
        cv2.line(image, *points, shade, max(1, round(thick)))
        cv2.line(alpha, *points, 255, max(1, round(thick)))
        if length < 7:
            continue
        for side in rng.uniform(-0.75, 0.75, int(rng.integers(2, 4)) + (length < 30)):
            turn = angle + side + 0.06 * np.cos(angle)
            stack.append((end_x, end_y, turn, length * rng.uniform(0.62, 0.85), thick * 0.6))
        if len(stack) > 600:
            break
    outline = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((13, 13), np.uint8))
    return Texture(image, alpha, outline)


@lru_cache(maxsize=12)
def hedge(design: int) -> Texture:
    """Six metres of hedge, or of loose shrubs for odd designs."""
    rng = np.random.default_rng((16, design))
    x = np.arange(0, 384, 22.0)
    loose = design % 2
    y = 56 - rng.uniform(0, 26, len(x)) * loose - 10
    r = rng.uniform(22, 30, len(x))
    top = np.stack([x, y, r], axis=1)
    low = np.stack([x, np.full(len(x), 78.0), np.full(len(x), 30.0)], axis=1)
    return _foliage(rng, (96, 384), np.concatenate([top, low]), 3.5, 2600)
