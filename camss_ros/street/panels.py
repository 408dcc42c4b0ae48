"""Panels: textures seen in perspective, and billboards, which turn to the camera."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from camss_ros.street.camera import NEAR, SceneCamera, clip_near
from camss_ros.street.chunk import Panel
from camss_ros.street.depth import plane_of
from camss_ros.street.faces import ONE, Target, fill_labels, fill_polygon, large_to_small
from camss_ros.street.light import Atmosphere

_WINDOW = (255, 214, 140)


def _turned(panel: Panel, camera: SceneCamera) -> Panel:
    """A billboard, turned about its vertical axis to face the camera."""
    middle = panel.origin + panel.u / 2
    toward = (camera.position - middle)[[0, 2]]
    distance = float(np.linalg.norm(toward))
    if distance < 1e-6:
        return panel
    u = np.array([-toward[1], 0.0, toward[0]]) * (np.linalg.norm(panel.u) / distance)
    return replace(panel, origin=middle - u / 2, u=u)


def _halvings(texels: int, pixels: float) -> int:
    return int(min(4, max(0, math.log2(max(texels, 1) / max(pixels, 1)))))


def draw_panel(target: Target, panel: Panel, atmosphere: Atmosphere) -> None:
    """Draws a panel over what is in the target; from behind there is nothing to see of it."""
    camera = target.camera
    if panel.normal is None:
        # Leaves face every way: zero asks for the average light.
        panel, normal = _turned(panel, camera), np.zeros(3)
    else:
        normal = panel.normal
        if normal @ (panel.origin - camera.position) > 0:
            return
    corner, u, v = panel.origin, panel.u, panel.v
    seen = camera.to_camera(np.array([corner, corner + u, corner + u + v, corner + v]))
    q = np.zeros(3)
    if target.depth is not None:
        q = plane_of(seen[0], np.cross(seen[1] - seen[0], seen[3] - seen[0]))
    depth = float(seen[:, 2].mean())
    if seen[:, 2].max() < NEAR:
        return
    if seen[:, 2].min() < NEAR:
        seen = clip_near(seen)
        if len(seen) < 3:
            return
    pixels = camera.to_pixels(seen)
    height, width = target.image.shape[:2]
    left, top = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(pixels.max(axis=0)) + 1, (width, height)).astype(int)
    if right <= left or bottom <= top:
        return
    fixed = np.round(pixels * ONE).astype(np.int32)
    small = large_to_small(fixed)
    extent = pixels.max(axis=0) - pixels.min(axis=0)
    texture = panel.texture
    if extent.min() < (12 if texture.opaque else 4):
        color = _light_texture(texture.mean, None, panel, normal, depth, atmosphere)[0, 0].tolist()
        fill_polygon(target.image, fixed, color)
        fill_labels(target, small, panel.label, q)
        return
    image, alpha, outline, lamps = texture.level(
        _halvings(texture.width, extent[0]), _halvings(texture.height, extent[1])
    )
    image = _light_texture(image, lamps, panel, normal, depth, atmosphere)

    rows, columns = image.shape[:2]
    texel = np.array([[1 / columns, 0, 0.5 / columns], [0, 1 / rows, 0.5 / rows], [0, 0, 1]])
    plane = camera.plane_homography(corner, u, v) @ texel
    move = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]]) @ plane
    mask = _stencil(fixed, left, top, right, bottom)
    warped = _warped(image, move, mask)
    if alpha is not None:
        mask[_warped(alpha, move, mask) < 90] = 0
    cv2.copyTo(warped, mask, target.image[top:bottom, left:right])

    if outline is None or texture.outline_is_full:
        fill_labels(target, small, panel.label, q)
        return
    left, top = left // 2, top // 2
    right, bottom = min((right + 1) // 2, width // 2), min((bottom + 1) // 2, height // 2)
    if right <= left or bottom <= top:
        return
    halve = np.array([[0.5, 0, -0.25 - left], [0, 0.5, -0.25 - top], [0, 0, 1.0]])
    mask = _stencil(small, left, top, right, bottom)
    shown = (mask > 0) & (_warped(outline, halve @ plane, mask) >= 100)
    target.label[top:bottom, left:right][shown] = panel.label
    if target.depth is not None:
        target.depth.faces[top:bottom, left:right][shown] = target.depth.add(q)


def _stencil(polygon: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """uint8 mask of a window of the picture, 255 within the polygon."""
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fill_polygon(mask, polygon - np.array([left, top], np.int32) * ONE, 255)
    return mask


def _warped(texture: np.ndarray, matrix: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The texture as it is seen in a window of that size."""
    size = window.shape[::-1]
    return cv2.warpPerspective(texture, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def _light_texture(
    image: np.ndarray,
    lamps: np.ndarray | None,
    panel: Panel,
    normal: np.ndarray,
    depth: float,
    atmosphere: Atmosphere,
) -> np.ndarray:
    clear = float(atmosphere.clear(np.array(max(depth, 0.0))))
    factor = atmosphere.shade(normal[None])[0] * panel.tint * clear
    table = np.arange(256)[:, None] * factor + atmosphere.haze * (1 - clear)
    lit = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8).reshape(1, 256, 3))
    if atmosphere.lamps and lamps is not None:
        glow = np.array(_WINDOW) * clear * 0.85 + atmosphere.haze * (1 - clear)
        lit[lamps > 127] = np.clip(glow, 0, 255).astype(np.uint8)
    return lit
