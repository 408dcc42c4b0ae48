"""Pictures for people: label images in colour, overlays, legends, contact sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from camss_ros.images.label_class import LabelClass
from camss_ros.images.nearest import resize_nearest

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BACKGROUND = 24  # grey value behind legends and sheets
_TEXT = (235, 235, 235)


def palette(classes: Sequence[LabelClass]) -> np.ndarray:
    """uint8 [256, 3]: the RGB colour of each label value; black where there is no class."""
    table = np.zeros((256, 3), np.uint8)
    for label_class in classes:
        table[label_class.id] = label_class.color
    return table


def colorize(labels: np.ndarray, classes: Sequence[LabelClass]) -> np.ndarray:
    """Label image uint8 [H, W] -> its colours uint8 [H, W, 3] RGB, void black."""
    return cv2.LUT(cv2.merge([labels] * 3), palette(classes)[None])


def overlay(
    image: np.ndarray, labels: np.ndarray, classes: Sequence[LabelClass], alpha: float = 0.5
) -> np.ndarray:
    """The image with the label colours over it, uint8 [H, W, 3] RGB.

    Pixels without a class stay as they are.

    Args:
        image: uint8 [H, W, 3] RGB.
        labels: uint8 [h, w], scaled to the image where the sizes differ.
        alpha: the share of the colour, 0 to 1.
    """
    height, width = image.shape[:2]
    if labels.shape != (height, width):
        labels = resize_nearest(labels, (height, width))
    blended = cv2.addWeighted(image, 1 - alpha, colorize(labels, classes), alpha, 0)
    is_no_class = np.full(256, 255, np.uint8)
    is_no_class[[label_class.id for label_class in classes]] = 0
    return cv2.copyTo(image, cv2.LUT(labels, is_no_class), blended)


def legend(classes: Sequence[LabelClass], width: int) -> np.ndarray:
    """A strip uint8 [h, width, 3] RGB with the colour and name of every class, in rows."""
    box, row_height, scale = 14, 24, 0.45
    entry_widths = [
        box + 8 + cv2.getTextSize(label_class.name, _FONT, scale, 1)[0][0] + 16
        for label_class in classes
    ]
    places: list[tuple[int, int]] = []
    x, y = 8, 0
    for entry_width in entry_widths:
        if x + entry_width > width and x > 8:
            x, y = 8, y + row_height
        places.append((x, y))
        x += entry_width
    strip = np.full((y + row_height, width, 3), _BACKGROUND, np.uint8)
    for label_class, (x, y) in zip(classes, places, strict=True):
        top = y + (row_height - box) // 2
        cv2.rectangle(strip, (x, top), (x + box, top + box), label_class.color, cv2.FILLED)
        _write(strip, label_class.name, (x + box + 6, top + box - 2), scale)
    return strip


def contact_sheet(
    tiles: Sequence[tuple[np.ndarray, str]],
    classes: Sequence[LabelClass],
    columns: int = 4,
    tile_width: int = 400,
) -> np.ndarray:
    """A grid of captioned pictures over a legend, uint8 [H, W, 3] RGB.

    Args:
        tiles: (image uint8 [h, w, 3] RGB, caption) in reading order; all are scaled to
            `tile_width` pixels, rows are as high as their highest picture.
        classes: of the legend.
        columns: tiles side by side.

    Raises:
        ValueError: no tile.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns, len(tiles))
    gap, caption_height = 6, 22
    sheet_width = columns * tile_width + (columns + 1) * gap
    rows: list[np.ndarray] = []
    for start in range(0, len(tiles), columns):
        pictures = []
        for image, _ in tiles[start : start + columns]:
            height = max(1, round(image.shape[0] * tile_width / image.shape[1]))
            pictures.append(cv2.resize(image, (tile_width, height), interpolation=cv2.INTER_AREA))
        row_height = caption_height + max(picture.shape[0] for picture in pictures) + gap
        row = np.full((row_height, sheet_width, 3), _BACKGROUND, np.uint8)
        for column, picture in enumerate(pictures):
            x = gap + column * (tile_width + gap)
            _write(row, tiles[start + column][1], (x, caption_height - 6), 0.45)
            row[caption_height : caption_height + picture.shape[0], x : x + tile_width] = picture
        rows.append(row)
    return np.vstack([*rows, legend(classes, sheet_width)])


def sample_evenly(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices below `count`, evenly spread, the first and the last among them."""
    if count <= wanted:
        return list(range(count))
    if wanted == 1:
        return [0]
    return [math.floor(i * (count - 1) / (wanted - 1) + 0.5) for i in range(wanted)]


def _write(image: np.ndarray, text: str, origin: tuple[int, int], scale: float) -> None:
    # OpenCV crashes on what Python makes of file names that are no UTF-8
    text = text.encode("utf-8", "replace").decode()
    cv2.putText(image, text, origin, _FONT, scale, _TEXT, 1, cv2.LINE_AA)
