"""Drawn textures of what is built: facades, roofs, walls, fences; surface grain.

Every texture is a function of a small design number, so the process-wide caches stay bounded.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

PIXELS_PER_METRE = 32


FACADE_DESIGNS = 4

_Level = tuple[np.ndarray, "np.ndarray | None", "np.ndarray | None", "np.ndarray | None"]


class Texture:
    """An RGB texture with optional cut-out and with smaller copies for drawing at a distance."""

    def __init__(
        self,
        image: np.ndarray,
        alpha: np.ndarray | None = None,
        outline: np.ndarray | None = None,
        lamps: np.ndarray | None = None,
    ) -> None:
        """image: uint8 [H, W, 3]; masks: uint8 [H, W], 0 or 255.

        alpha: what is drawn; outline: what is labelled, where that is more than what is drawn
        (a bare crown is labelled as a whole); lamps: windows that are lit at dusk.
        """
        outline = alpha if outline is None else outline
        self._levels: dict[tuple[int, int], _Level] = {(0, 0): (image, alpha, outline, lamps)}
        self.height, self.width = image.shape[:2]
        self.mean = np.array(cv2.mean(image, alpha)[:3], np.uint8).reshape(1, 1, 3)
        self.opaque = alpha is None
        self.outline_is_full = outline is not None and bool(outline.all())

    def level(self, halvings_x: int, halvings_y: int) -> _Level:
        """(image, alpha, outline, lamps) with width and height halved that many times."""
        key = (halvings_x, halvings_y)
        if key not in self._levels:
            size = (max(1, self.width >> halvings_x), max(1, self.height >> halvings_y))
            image, alpha, outline, lamps = self._levels[0, 0]
            if alpha is not None:
                # Colour of cut-away texels must not bleed into the small copies.
                weight = np.maximum(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), 1)
                kept = cv2.bitwise_and(image, image, mask=alpha)
                small = cv2.resize(kept, size, interpolation=cv2.INTER_AREA).astype(np.float32)
                small = np.clip(small * (255.0 / weight.reshape(size[1], size[0], 1)), 0, 255)
                image = small.astype(np.uint8)
            else:
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            alpha, outline, lamps = (
                None if mask is None else cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
                for mask in (alpha, outline, lamps)
            )
            self._levels[key] = (image.reshape(size[1], size[0], 3), alpha, outline, lamps)
        return self._levels[key]


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, coarsest: int, octaves: int = 4
) -> np.ndarray:
    """float32 [height, width] around 0, about -1 to 1; features from `coarsest` pixels down."""
    total = np.zeros((height, width), np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        cell = max(1, coarsest >> octave)
        grid = rng.uniform(-1, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        amplitude *= 0.55
    return total / 1.6


def _blocks(
    rng: np.random.Generator, deviation: float, count: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """float32 [size] around 0: rows and columns of bricks or tiles, each of one random grey."""
    shades = rng.normal(0, deviation, count).astype(np.float32)
    return cv2.resize(shades, size[::-1], interpolation=cv2.INTER_NEAREST)


def _rgb(base: tuple[int, ...] | np.ndarray, change: np.ndarray) -> np.ndarray:
    """A colour varied by a grey map [H, W], as float32 [H, W, 3]."""
    change = change.astype(np.float32)
    return cv2.merge([change + level for level in np.asarray(base, np.float32)])


_WALLS = (  # colour, amount of brick pattern
    ((128, 74, 58), 14), ((150, 98, 70), 14), ((164, 140, 100), 12), ((112, 84, 72), 12),
    ((212, 206, 190), 2), ((226, 220, 210), 2), ((190, 178, 150), 3), ((170, 168, 160), 5),
    ((150, 146, 138), 5), ((196, 170, 130), 4), ((120, 116, 112), 5), ((206, 190, 176), 3),
)  # fmt: skip
_SHOP_COLORS = (
    (24, 62, 44), (120, 24, 30), (22, 34, 84), (30, 30, 32), (188, 30, 34), (214, 168, 40),
    (232, 230, 224), (46, 96, 140), (96, 60, 34), (120, 40, 100), (30, 120, 110),
)  # fmt: skip


def _glass(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """float32 [height, width, 3]: a dark pane that mirrors the sky in its upper part."""
    base = rng.uniform(20, 75)
    mirror = rng.uniform(0, 95) * (rng.random() < 0.6)
    rows = np.linspace(1, 0, height, dtype=np.float32)[:, None] ** 1.5
    pane = np.repeat(base + mirror * rows, width, axis=1)
    return np.clip(_rgb((-6, 0, 8), pane), 0, 255)


def _paint_window(
    rng: np.random.Generator,
    wall: np.ndarray,
    lamps: np.ndarray,
    box: tuple[int, int, int, int],
    frame: tuple[int, int, int],
    bars: tuple[int, int],
    sill: bool = True,
) -> None:
    """Draws a window into wall; box is (left, top, right, bottom), bars (columns, rows)."""
    left, top, right, bottom = box
    # Reveal: the shaded upper edge of the opening.
    cv2.rectangle(wall, (left - 2, top - 2), (right + 1, bottom + 1), frame, -1)
    pane = _glass(rng, bottom - top, right - left)
    if rng.random() < 0.35:  # curtains or blinds
        cloth = rng.uniform(110, 200)
        share = rng.uniform(0.15, 0.4)
        edge = max(1, int(pane.shape[1] * share))
        pane[:, :edge] = pane[:, -edge:] = (cloth, cloth * 0.97, cloth * 0.9)
    wall[top:bottom, left:right] = pane
    if rng.random() < 0.3:
        lamps[top:bottom, left:right] = 255
    for column in range(1, bars[0]):
        x = left + (right - left) * column // bars[0]
        cv2.line(wall, (x, top), (x, bottom - 1), frame, 1)
        cv2.line(lamps, (x, top), (x, bottom - 1), 0, 1)
    for row in range(1, bars[1]):
        y = top + (bottom - top) * row // bars[1]
        cv2.line(wall, (left, y), (right - 1, y), frame, 1)
        cv2.line(lamps, (left, y), (right - 1, y), 0, 1)
    wall[top : top + 2, left:right] *= 0.6
    if sill:
        cv2.rectangle(wall, (left - 4, bottom + 1), (right + 3, bottom + 3), frame, -1)
        wall[bottom + 4 : bottom + 6, left - 3 : right + 3] *= 0.8


def _paint_shop(rng: np.random.Generator, wall: np.ndarray, lamps: np.ndarray, top: int) -> None:
    """Draws a shop front from row `top` down: fascia with lettering, panes, a door."""
    height, width = wall.shape[:2]
    color = _SHOP_COLORS[rng.integers(len(_SHOP_COLORS))]
    letters = (235, 230, 215) if sum(color) < 420 else (40, 36, 40)
    fascia = int(0.65 * PIXELS_PER_METRE)
    wall[top:] = color
    x, end = int(width * rng.uniform(0.1, 0.3)), int(width * rng.uniform(0.65, 0.9))
    while x < end:
        step = int(rng.integers(3, 7))
        low, high = top + fascia // 3, top + 2 * fascia // 3
        cv2.line(wall, (x, high), (x + int(rng.integers(-2, 4)), low), letters, 2)
        x += step + (8 if rng.random() < 0.15 else 1)
    wall[top + fascia : top + fascia + 3] *= 0.5
    panes = max(2, round(width / PIXELS_PER_METRE / rng.uniform(1.2, 2.2)))
    door = int(rng.integers(panes))
    for pane in range(panes):
        left, right = width * pane // panes + 4, width * (pane + 1) // panes - 3
        bottom = height - (2 if pane == door else int(0.5 * PIXELS_PER_METRE))
        rows = slice(top + fascia + 4, bottom)
        wall[rows, left:right] = _glass(rng, bottom - top - fascia - 4, right - left) * 0.8
        for _ in range(int(rng.integers(2, 9))):  # goods in the window
            px, py = int(rng.integers(left, right)), int(rng.integers(rows.start, bottom))
            size = int(rng.integers(2, 10))
            shade = tuple(int(c) for c in rng.integers(30, 200, 3))
            cv2.rectangle(
                wall, (px, py), (min(px + size, right - 1), min(py + size, bottom - 1)), shade, -1
            )
        if rng.random() < 0.7:
            lamps[rows, left:right] = 255


def _paint_door(rng: np.random.Generator, wall: np.ndarray, left: int) -> None:
    height = wall.shape[0]
    color = _SHOP_COLORS[rng.integers(len(_SHOP_COLORS))]
    width, top = int(0.95 * PIXELS_PER_METRE), height - int(2.15 * PIXELS_PER_METRE)
    cv2.rectangle(wall, (left - 3, top - 3), (left + width + 2, height), (214, 210, 200), -1)
    cv2.rectangle(wall, (left, top), (left + width, height), color, -1)
    cv2.rectangle(wall, (left + 5, top + 6), (left + width - 5, top + 18), (60, 66, 72), -1)


@lru_cache(maxsize=128)
def facade(design: int, floors: int, bays: int, ground: str) -> Texture:
    """A front of `bays` windows of about 2.6 m by floors of 3 m.

    ground: "shop", "house", "office" (bands of glass all over) or "blind" (a gable, few windows).
    """
    rng = np.random.default_rng((11, design, floors, bays, sum(map(ord, ground))))
    width = int(bays * 2.6 * PIXELS_PER_METRE)
    storey = 3 * PIXELS_PER_METRE
    height = floors * storey + PIXELS_PER_METRE // 2
    base, brick = _WALLS[rng.integers(len(_WALLS))]
    color = np.clip(np.array(base) + rng.normal(0, 9, 3), 0, 255)
    pattern = _blocks(rng, 1, (height // 3, width // 7 + 1), (height, width))
    grime = fractal_noise(rng, height, width, 96) * 12 - np.abs(
        fractal_noise(rng, 1, width, 24) * 8
    )
    wall = _rgb(color, pattern * brick + grime)
    lamps = np.zeros((height, width), np.uint8)
    frame = ((232, 230, 224), (200, 196, 186), (70, 66, 62), (120, 90, 60))[
        rng.choice(4, p=(0.55, 0.2, 0.15, 0.1))
    ]
    bars = ((2, 2), (1, 2), (2, 1), (3, 4), (2, 3))[rng.integers(5)]
    share_x, share_y = rng.uniform(0.36, 0.56), rng.uniform(0.48, 0.62)
    for floor in range(floors):
        top = PIXELS_PER_METRE // 2 + floor * storey
        if floor == floors - 1 and ground == "shop":
            _paint_shop(rng, wall, lamps, top)
            continue
        for bay in range(bays):
            left, right = width * bay // bays, width * (bay + 1) // bays
            if ground == "office":
                box = (left + 3, top + storey // 4, right - 3, top + storey * 7 // 8)
                _paint_window(rng, wall, lamps, box, frame, (2, 1), sill=False)
                continue
            if ground == "blind" and rng.random() < 0.75:
                continue
            if ground == "house" and floor == floors - 1 and bay == design % bays:
                _paint_door(rng, wall, (left + right) // 2 - PIXELS_PER_METRE // 2)
                continue
            margin = int((right - left) * (1 - share_x) / 2)
            sky = int(storey * (0.86 - share_y))
            box = (left + margin, top + sky, right - margin, top + sky + int(storey * share_y))
            _paint_window(rng, wall, lamps, box, frame, bars)
        if rng.random() < 0.3 and floor:
            cv2.rectangle(wall, (0, top - 3), (width, top + 2), tuple(color * 1.12), -1)
    cornice = (color * 0.5 + 95).tolist()
    cv2.rectangle(wall, (0, 0), (width, 7), cornice, -1)
    wall[8:12] *= 0.7
    if rng.random() < 0.6:  # rain pipe
        cv2.line(wall, (width - 4, 8), (width - 4, height), (60, 60, 62), 2)
    shade = np.linspace(1.03, 0.9, height, dtype=np.float32)[:, None, None]
    return Texture(np.clip(wall * shade, 0, 255).astype(np.uint8), lamps=lamps)


@lru_cache(maxsize=16)
def roof(design: int) -> Texture:
    """Courses of tiles or slates."""
    rng = np.random.default_rng((12, design))
    color = ((96, 60, 48), (78, 80, 86), (110, 76, 58), (66, 64, 66))[design % 4]
    rows = np.zeros((96, 256), np.float32)
    rows[::6] = -22
    tiles = _blocks(rng, 9, (16, 40), (96, 256))
    change = rows + tiles + fractal_noise(rng, 96, 256, 48) * 9
    return Texture(np.clip(_rgb(color, change), 0, 255).astype(np.uint8))


@lru_cache(maxsize=24)
def fence(design: int) -> Texture:
    """Eight metres of fence, seen from the street: railings, boards, guard rails or mesh."""
    rng = np.random.default_rng((13, design))
    height, width = 64, 512
    kind = ("railing", "boards", "railing", "guard", "pickets", "mesh")[design % 6]
    metal = ((34, 36, 38), (150, 152, 150), (40, 62, 50), (96, 98, 100))[design % 4]
    image = np.zeros((height, width, 3), np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    outline = np.full((height, width), 255, np.uint8)

    def bar(low: tuple[int, int], high: tuple[int, int], color: tuple[int, ...]) -> None:
        cv2.rectangle(image, low, high, color, -1)
        cv2.rectangle(alpha, low, high, 255, -1)

    if kind == "boards":
        alpha[:] = 255
        wood = np.array(((120, 88, 60), (96, 76, 60), (140, 116, 90))[design % 3])
        for x in range(0, width, 9):
            bar((x, 0), (x + 8, height), tuple(int(c) for c in wood + rng.normal(0, 10)))
            cv2.line(image, (x, 0), (x, height), (0, 0, 0), 1)
    elif kind == "guard":
        for y in (8, 30, 52):
            bar((0, y), (width, y + 9), (150, 154, 156))
            bar((0, y + 7), (width, y + 9), (96, 98, 100))
        for x in range(0, width, 128):
            bar((x, 0), (x + 7, height), (110, 112, 112))
    else:
        step, thick = {"railing": (8, 2), "pickets": (12, 8), "mesh": (6, 1)}[kind]
        color = (222, 220, 212) if kind == "pickets" else metal
        for x in range(0, width, step):
            bar((x, 4), (x + thick - 1, height), color)
        for y in (6, height - 10) if kind != "mesh" else range(4, height, 8):
            bar((0, y), (width, y + (3 if kind != "mesh" else 0)), color)
        for x in range(0, width, 128):
            bar((x, 0), (x + 5, height), color)
    noise = rng.normal(0, 6, (height, width, 1))
    return Texture(np.clip(image + noise, 0, 255).astype(np.uint8), alpha, outline)


@lru_cache(maxsize=12)
def wall(design: int) -> Texture:
    """A garden wall with coping stones."""
    rng = np.random.default_rng((14, design))
    color, brick = _WALLS[design % 4 if design % 3 else 8]
    pattern = _blocks(rng, brick, (16, 48), (64, 384))
    image = _rgb(color, pattern + fractal_noise(rng, 64, 384, 64) * 12)
    image[:7] = np.array(color) * 0.5 + 90
    return Texture(np.clip(image, 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def grain() -> np.ndarray:
    """uint8 [512, 512], 128 = unchanged; a tile of 16 m that repeats without a seam."""
    rng = np.random.default_rng(17)
    fine = rng.normal(0, 1, (512, 512)).astype(np.float32)
    total = fine * 9
    frequency = np.fft.fftfreq(512)[:, None] ** 2 + np.fft.rfftfreq(512)[None] ** 2
    for sigma, amount in ((2, 6), (9, 6), (40, 8)):
        spectrum = np.fft.rfft2(rng.normal(0, 1, (512, 512)))
        soft = np.fft.irfft2(spectrum * np.exp(-2 * (np.pi * sigma) ** 2 * frequency))
        total += (soft / soft.std() * amount).astype(np.float32)
    return np.clip(128 + total, 0, 255).astype(np.uint8)
