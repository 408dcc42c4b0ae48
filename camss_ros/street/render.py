"""Draws a street: the picture at twice the size, then halved; the labels without smoothing.

Painter's algorithm: chunks from far to near, within a chunk buildings, gardens, fences, then what
stands on the pavements, guard rails, what stands on the road. Picture and labels are filled from
the same projected polygons.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.street.camera import SceneCamera
from camss_ros.street.chunk import CHUNK, Chunk, Solid
from camss_ros.street.classes import BUILDING, SKY, TREE, UNLABELLED
from camss_ros.street.depth import DepthPicture
from camss_ros.street.faces import ONE, SHIFT, Target, fill, fill_polygon, large_to_small, project
from camss_ros.street.light import Atmosphere, draw_sky
from camss_ros.street.mesh import Mesh
from camss_ros.street.panels import draw_panel
from camss_ros.street.textures import grain
from camss_ros.street.world import Street

_VIEW = 170.0  # metres
_SHADOW_LIGHT = 0.55  # what the sky still gives to ground in the shadow


def render(
    street: Street,
    camera: SceneCamera,
    atmosphere: Atmosphere,
    time: float,
    depth: DepthPicture | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the street.

    Args:
        street: with its traffic.
        camera: whose picture it is.
        atmosphere: light, sky and haze.
        time: seconds, which the traffic follows.
        depth: where the depth of what the labels show is drawn as well, if given.

    Returns:
        Image uint8 [H, W, 3] RGB before the camera's own effects, and label uint8 [H, W], CamVid
        11 ids or 255.
    """
    height, width = camera.height, camera.width
    target = Target(
        image=np.zeros((2 * height, 2 * width, 3), np.uint8),
        label=np.full((height, width), SKY, np.uint8),
        camera=replace(camera, focal=2 * camera.focal, height=2 * height, width=2 * width),
        halos=[],
        depth=depth,
    )
    far = min(_VIEW, 3.2 / atmosphere.density)
    first = math.floor((camera.z - 1) / CHUNK)
    indices = list(range(first, math.floor((camera.z + far) / CHUNK) + 1))
    chunks = [street.chunk(i) for i in indices]
    traffic = street.traffic.at(time, camera.z, far)

    draw_sky(target.image, target.camera, atmosphere)
    _draw_skyline(target, street.road.seed, atmosphere)
    _draw_ground(target, chunks, traffic, atmosphere)
    _draw_items(target, chunks, traffic, atmosphere)

    image = cv2.resize(target.image, (width, height), interpolation=cv2.INTER_AREA)
    _draw_halos(image, target)
    return image, target.label


def _draw_skyline(target: Target, seed: int, atmosphere: Atmosphere) -> None:
    """What is behind the end of the street: roofs and trees at the horizon, all in haze."""
    camera = target.camera
    far = 4000.0
    rng = np.random.default_rng((31, seed))
    foggy = atmosphere.density > 0.01
    span = np.linspace(-1.5, 1.5, 241)
    bumps = [
        np.interp(span, np.linspace(-1.5, 1.5, 61), rng.uniform(0.2, 1.0, 61)) for _ in range(2)
    ]
    roofs = np.repeat(rng.uniform(0.0, 1.0, 121), 2)[:241] * (bumps[0] > 0.55)
    trees = bumps[1] * 0.8 + rng.uniform(0, 0.25, 241)
    for rise, label, color in ((roofs, BUILDING, (120, 112, 108)), (trees, TREE, (64, 76, 52))):
        top = far * 0.028 * rise + camera.y
        x, z = np.sin(span) * far + camera.x, np.cos(span) * far + camera.z
        upper = np.stack([x, top, z], axis=1)
        lower = np.stack([x, np.full(241, camera.y - 0.025 * far), z], axis=1)[::-1]
        seen = camera.to_camera(np.concatenate([upper, lower]))
        kept = seen[:, 2] > 0.02 * far
        points = np.round(camera.to_pixels(seen[kept]) * ONE).astype(np.int32)
        clear = 0.0 if foggy else 0.45
        shade = np.array(color) * atmosphere.ambient * clear + atmosphere.haze * (1 - clear)
        if not foggy:
            cv2.fillPoly(target.image, [points], shade.tolist(), cv2.LINE_8, SHIFT)
        elif label == BUILDING:
            continue
        small = large_to_small(points)
        cv2.fillPoly(target.label, [small], VOID if foggy else label, cv2.LINE_8, SHIFT)


def _draw_ground(
    target: Target, chunks: list[Chunk], traffic: Chunk, atmosphere: Atmosphere
) -> None:
    camera, image = target.camera, target.image
    ground = Mesh.joined([chunk.ground for chunk in reversed(chunks)])
    faces = project(ground, target, atmosphere, hazy=False)
    top = math.ceil(camera.horizon - abs(camera.roll) * camera.width / 2) + 2
    top = min(max(0, top), image.shape[0])
    if top == image.shape[0]:
        return
    fill(target, faces, 0, len(faces.large))

    rows = np.arange(top, image.shape[0])
    drop = np.maximum(rows - camera.horizon, 0.5)
    depth = camera.y * camera.focal / drop
    clear = atmosphere.clear(depth)[:, None].astype(np.float32)
    fade = (0.9 / (1 + (depth / 14) ** 2) + 0.1 * (depth < 60))[:, None].astype(np.float32)
    light = _grain(target, top) * (fade * clear) + (1 - fade) * clear * 128
    light *= _shadows(target, [*chunks, traffic], top, atmosphere)
    factor = cv2.cvtColor(cv2.convertScaleAbs(light), cv2.COLOR_GRAY2RGB)
    part = image[top:]
    cv2.multiply(part, factor, part, scale=1 / 128)
    haze = ((1 - clear) * atmosphere.haze).astype(np.uint8)
    cv2.add(part, np.repeat(haze[:, None], part.shape[1], axis=1), part)


def _grain(target: Target, top: int) -> np.ndarray:
    """float32 [rows, W]: grain of asphalt or paving (128 = neutral) seen on the ground plane."""
    camera = target.camera
    metre = 512 / 16
    # Whole tiles are taken off the origin: warp coordinates are of limited range.
    origin = np.array([16 * math.floor(camera.x / 16), 0.0, 16 * math.floor(camera.z / 16)])
    right, ahead = np.array([1 / metre, 0, 0]), np.array([0, 0, 1 / metre])
    plane = camera.plane_homography(origin, right, ahead)
    move = np.array([[1, 0, 0], [0, 1, -top], [0, 0, 1.0]])
    size = (target.image.shape[1], target.image.shape[0] - top)
    seen = cv2.warpPerspective(grain(), move @ plane, size, borderMode=cv2.BORDER_WRAP)
    return seen.astype(np.float32)


def _shadows(target: Target, chunks: list[Chunk], top: int, atmosphere: Atmosphere) -> np.ndarray:
    """float32 [rows, W]: share of the light that reaches the ground."""
    polygons = [polygon for chunk in chunks for polygon in chunk.shadows]
    mask = np.full((target.image.shape[0] - top, target.image.shape[1]), 255, np.uint8)
    if polygons:
        flat = replace(target, halos=[], depth=None)
        faces = project(_flat_mesh(polygons), flat, atmosphere)
        value = int(255 * _SHADOW_LIGHT)
        shift = np.array([0, top * ONE], np.int32)
        for points in faces.large:
            fill_polygon(mask, points - shift, value)
        mask = cv2.blur(mask, (5, 3))
    return mask.astype(np.float32) * np.float32(1 / 255)


def _flat_mesh(polygons: list[np.ndarray]) -> Mesh:
    """A mesh of horizontal polygons [N, 3]."""
    count = len(polygons)
    vertices = np.concatenate(polygons)
    return Mesh(
        vertices=vertices,
        radii=np.zeros(len(vertices)),
        counts=np.array([len(polygon) for polygon in polygons]),
        colors=np.zeros((count, 3)),
        labels=np.full(count, UNLABELLED),
        normals=np.tile([0.0, 1.0, 0.0], (count, 1)),
        culled=np.zeros(count, bool),
        glowing=np.zeros(count, bool),
    )


def _draw_items(
    target: Target, chunks: list[Chunk], traffic: Chunk, atmosphere: Atmosphere
) -> None:
    items = [item for chunk in chunks for item in chunk.items] + traffic.items
    items.sort(key=lambda item: (-math.floor(item.z / CHUNK), item.layer, -item.z))
    solids = [item for item in items if isinstance(item, Solid)]
    faces = project(Mesh.joined([solid.mesh for solid in solids]), target, atmosphere)
    ends = np.cumsum([len(solid.mesh.counts) for solid in solids])
    drawn, stops = 0, iter(np.searchsorted(faces.indices, ends).tolist())
    for item in items:
        if isinstance(item, Solid):
            stop = next(stops)
            fill(target, faces, drawn, stop)
            drawn = stop
        else:
            draw_panel(target, item, atmosphere)


def _draw_halos(image: np.ndarray, target: Target) -> None:
    """Light that spreads around lit lamps, where nothing hides them."""
    height, width = image.shape[:2]
    for x, y, radius, color, label in target.halos:
        reach = int(min(radius, 0.2 * width))
        left, top = max(0, int(x) - reach), max(0, int(y) - reach)
        right, bottom = min(width, int(x) + reach + 1), min(height, int(y) + reach + 1)
        inside = 0 <= int(x) < width and 0 <= int(y) < height
        if reach < 1 or right <= left or bottom <= top:
            continue
        if not inside or target.label[int(y), int(x)] != label:
            continue
        dx = (np.arange(left, right) - x)[None] / reach
        dy = (np.arange(top, bottom) - y)[:, None] / reach
        glow = np.maximum(0, 1 - dx**2 - dy**2)[..., None] ** 3 * 0.6
        part = image[top:bottom, left:right]
        part[:] = np.minimum(255, part + glow * np.array(color)).astype(np.uint8)
