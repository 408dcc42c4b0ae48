"""Draws a street: the picture at twice the size, then halved; the labels without smoothing.

Painter's algorithm: chunks from far to near, within a chunk buildings, gardens, fences, then what
stands on the street. Picture and labels are filled from the same projected polygons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from camss_ros.images.label_class import VOID
from camss_ros.street.camera import NEAR, SceneCamera, clip_near
from camss_ros.street.chunk import CHUNK, Chunk, Panel, Solid
from camss_ros.street.classes import BUILDING, SKY, TREE, UNLABELLED
from camss_ros.street.depth import DepthPicture, mesh_planes, plane_of
from camss_ros.street.light import Atmosphere, draw_sky
from camss_ros.street.mesh import Mesh
from camss_ros.street.textures import grain
from camss_ros.street.world import Street

_VIEW = 170.0  # metres
_SHIFT = 4  # bits below the pixel in polygon coordinates
_ONE = 1 << _SHIFT
_CAP = np.linspace(-math.pi / 2, math.pi / 2, 5)
_SHADOW_LIGHT = 0.55  # what the sky still gives to ground in the shadow
_WINDOW = (255, 214, 140)
_NO_PLANE = np.zeros(3)
_HALO = 3.0  # radius of the halo of a lit lamp, in sizes of the lamp


@dataclass
class _Target:
    """The pictures that every polygon is drawn into, and the camera of the larger one."""

    image: np.ndarray  # uint8 [2H, 2W, 3]
    label: np.ndarray  # uint8 [H, W]
    camera: SceneCamera
    halos: list[tuple[float, float, float, tuple[float, ...], int]]
    depth: DepthPicture | None = None


@dataclass(frozen=True)
class _Faces:
    """The faces of a mesh that are in view; points in fixed-point pixels of either picture."""

    indices: np.ndarray  # int [M], which faces of the mesh, ascending
    large: list[np.ndarray]
    small: list[np.ndarray]
    colors: list[list[float]]
    labels: list[int]
    planes: np.ndarray  # float [M, 3], see DepthPicture; [0, 3] where no depth is drawn


def _large_to_small(points: np.ndarray) -> np.ndarray:
    """Fixed-point pixels of the large picture -> of the small one (pixel centres line up)."""
    return (points - _ONE // 2) >> 1


def _fill_polygon(picture: np.ndarray, points: np.ndarray, value: float | list[float]) -> None:
    """Fills a convex polygon of fixed-point pixels."""
    cv2.fillConvexPoly(picture, points, value, cv2.LINE_8, _SHIFT)


def _fill_labels(target: _Target, points: np.ndarray, label: int, plane: np.ndarray) -> None:
    """Fills a polygon in the labels and, where the depth is drawn, of that plane in the depth."""
    _fill_polygon(target.label, points, label)
    if target.depth is not None:
        _fill_polygon(target.depth.faces, points, target.depth.add(plane))


def _project(mesh: Mesh, target: _Target, atmosphere: Atmosphere, *, hazy: bool = True) -> _Faces:
    camera = target.camera
    count = len(mesh.counts)
    ends = np.cumsum(mesh.counts)
    starts = ends - mesh.counts
    seen = camera.to_camera(mesh.vertices)
    depth = seen[:, 2]
    nearest = np.minimum.reduceat(depth, starts)
    middle = np.add.reduceat(depth, starts) / mesh.counts
    view = mesh.vertices[starts] - camera.position
    away = np.einsum("ij,ij->i", mesh.normals, view) > 0
    shown = (np.maximum.reduceat(depth, starts) > NEAR) & ~(mesh.culled & away)
    limb = mesh.counts == 2
    shown &= ~(limb & (nearest < NEAR))
    crossing = shown & (nearest < NEAR)

    safe = seen.copy()
    safe[:, 2] = np.maximum(depth, NEAR)
    pixels = camera.to_pixels(safe)
    reach = (mesh.radii * camera.focal / safe[:, 2])[:, None]
    low = np.minimum.reduceat(pixels - reach, starts, axis=0)
    high = np.maximum.reduceat(pixels + reach, starts, axis=0)
    inside = (high > 0).all(axis=1) & (low < (camera.width, camera.height)).all(axis=1)
    # Details under a pixel are not worth drawing; bodies are, for their label.
    large = ((high - low) > np.where(mesh.labels == UNLABELLED, 1.5, 0.5)[:, None]).all(axis=1)
    shown &= crossing | (inside & large)

    light = atmosphere.shade(np.where((away & ~mesh.culled)[:, None], -mesh.normals, mesh.normals))
    if atmosphere.lamps:
        light = np.where(mesh.glowing[:, None], 1.3, light)
    colors = mesh.colors * light
    if hazy:
        clear = atmosphere.clear(middle)[:, None]
        colors = colors * clear + atmosphere.haze * (1 - clear)
    colors = np.clip(colors, 0, 255)

    fixed = np.round(pixels * _ONE).astype(np.int32)
    halved = _large_to_small(fixed)
    points = {}
    for face, start, end in zip(
        *(part[shown & ~limb & ~crossing].tolist() for part in (np.arange(count), starts, ends)),
        strict=True,
    ):
        points[face] = fixed[start:end], halved[start:end]
    for face in np.flatnonzero(crossing).tolist():
        cut = clip_near(seen[starts[face] : ends[face]])
        if len(cut) >= 3:
            outline = np.round(camera.to_pixels(cut) * _ONE).astype(np.int32)
            points[face] = outline, _large_to_small(outline)
    limbs = np.flatnonzero(shown & limb)
    if len(limbs):
        first = starts[limbs]
        rings = _limb_outlines(pixels[first], pixels[first + 1], reach[first], reach[first + 1])
        rings = np.round(rings * _ONE).astype(np.int32)
        pairs = zip(rings, _large_to_small(rings), strict=True)
        points.update(zip(limbs.tolist(), pairs, strict=True))
    if atmosphere.lamps:
        for face in np.flatnonzero(shown & mesh.glowing & ~crossing):
            x, y = pixels[starts[face] : ends[face]].mean(axis=0) / 2
            radius = _HALO * float((high[face] - low[face]).max()) / 2
            body = int(np.flatnonzero(mesh.labels[: face + 1] != UNLABELLED)[-1])
            target.halos.append((x, y, radius, tuple(mesh.colors[face]), int(mesh.labels[body])))
    indices = np.array(sorted(points), int)
    large, small = [points[i][0] for i in indices], [points[i][1] for i in indices]
    planes = np.zeros((0, 3))
    if target.depth is not None:
        planes = mesh_planes(mesh, seen, starts, camera)[indices]
    labels = mesh.labels[indices].tolist()
    return _Faces(indices, large, small, colors[indices].tolist(), labels, planes)


def _limb_outlines(a: np.ndarray, b: np.ndarray, ra: np.ndarray, rb: np.ndarray) -> np.ndarray:
    """Outlines [N, 10, 2] of limbs between pixels a and b [N, 2] with radii [N, 1]."""
    along = b - a
    angle = np.arctan2(along[:, 1], along[:, 0])[:, None]
    end = np.stack([np.cos(angle + _CAP), np.sin(angle + _CAP)], axis=2)
    return np.concatenate([b[:, None] + end * rb[:, None], a[:, None] - end * ra[:, None]], axis=1)


def _fill(target: _Target, faces: _Faces, start: int, end: int) -> None:
    """Fills the faces in view number start to end."""
    for i in range(start, end):
        _fill_polygon(target.image, faces.large[i], faces.colors[i])
        if faces.labels[i] != UNLABELLED:
            plane = faces.planes[i] if target.depth is not None else _NO_PLANE
            _fill_labels(target, faces.small[i], faces.labels[i], plane)


def render(
    street: Street, camera: SceneCamera, atmosphere: Atmosphere, time: float
) -> tuple[np.ndarray, np.ndarray]:
    """The street at `time` seconds: image uint8 [H, W, 3] RGB before the camera's own effects,
    and label uint8 [H, W], CamVid 11 ids or 255."""
    return _render(street, camera, atmosphere, time, None)


def render_with_depth(
    street: Street, camera: SceneCamera, atmosphere: Atmosphere, time: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `render`, and the depth of what the labels show, float32 [H, W] metres, NaN for none."""
    picture = DepthPicture(camera.height, camera.width)
    image, label = _render(street, camera, atmosphere, time, picture)
    return image, label, picture.metres(camera)


def _render(
    street: Street,
    camera: SceneCamera,
    atmosphere: Atmosphere,
    time: float,
    depth: DepthPicture | None,
) -> tuple[np.ndarray, np.ndarray]:
    height, width = camera.height, camera.width
    target = _Target(
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


def _draw_skyline(target: _Target, seed: int, atmosphere: Atmosphere) -> None:
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
        points = np.round(camera.to_pixels(seen[kept]) * _ONE).astype(np.int32)
        clear = 0.0 if foggy else 0.45
        shade = np.array(color) * atmosphere.ambient * clear + atmosphere.haze * (1 - clear)
        if not foggy:
            cv2.fillPoly(target.image, [points], shade.tolist(), cv2.LINE_8, _SHIFT)
        elif label == BUILDING:
            continue
        small = _large_to_small(points)
        cv2.fillPoly(target.label, [small], VOID if foggy else label, cv2.LINE_8, _SHIFT)


def _draw_ground(
    target: _Target, chunks: list[Chunk], traffic: Chunk, atmosphere: Atmosphere
) -> None:
    camera, image = target.camera, target.image
    ground = Mesh.joined([chunk.ground for chunk in reversed(chunks)])
    faces = _project(ground, target, atmosphere, hazy=False)
    top = math.ceil(camera.horizon - abs(camera.roll) * camera.width / 2) + 2
    top = min(max(0, top), image.shape[0])
    if top == image.shape[0]:
        return
    _fill(target, faces, 0, len(faces.large))

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


def _grain(target: _Target, top: int) -> np.ndarray:
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


def _shadows(target: _Target, chunks: list[Chunk], top: int, atmosphere: Atmosphere) -> np.ndarray:
    """float32 [rows, W]: share of the light that reaches the ground."""
    polygons = [polygon for chunk in chunks for polygon in chunk.shadows]
    mask = np.full((target.image.shape[0] - top, target.image.shape[1]), 255, np.uint8)
    if polygons:
        flat = replace(target, halos=[], depth=None)
        faces = _project(_flat_mesh(polygons), flat, atmosphere)
        value = int(255 * _SHADOW_LIGHT)
        shift = np.array([0, top * _ONE], np.int32)
        for points in faces.large:
            _fill_polygon(mask, points - shift, value)
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
    target: _Target, chunks: list[Chunk], traffic: Chunk, atmosphere: Atmosphere
) -> None:
    items = [item for chunk in chunks for item in chunk.items] + traffic.items
    items.sort(key=lambda item: (-math.floor(item.z / CHUNK), item.layer, -item.z))
    solids = [item for item in items if isinstance(item, Solid)]
    faces = _project(Mesh.joined([solid.mesh for solid in solids]), target, atmosphere)
    ends = np.cumsum([len(solid.mesh.counts) for solid in solids])
    drawn, stops = 0, iter(np.searchsorted(faces.indices, ends).tolist())
    for item in items:
        if isinstance(item, Solid):
            stop = next(stops)
            _fill(target, faces, drawn, stop)
            drawn = stop
        else:
            _draw_panel(target, item, atmosphere)


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


def _draw_panel(target: _Target, panel: Panel, atmosphere: Atmosphere) -> None:
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
    fixed = np.round(pixels * _ONE).astype(np.int32)
    small = _large_to_small(fixed)
    extent = pixels.max(axis=0) - pixels.min(axis=0)
    texture = panel.texture
    if extent.min() < (12 if texture.opaque else 4):
        color = _light_texture(texture.mean, None, panel, normal, depth, atmosphere)[0, 0].tolist()
        _fill_polygon(target.image, fixed, color)
        _fill_labels(target, small, panel.label, q)
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
        _fill_labels(target, small, panel.label, q)
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
    _fill_polygon(mask, polygon - np.array([left, top], np.int32) * _ONE, 255)
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


def _draw_halos(image: np.ndarray, target: _Target) -> None:
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
