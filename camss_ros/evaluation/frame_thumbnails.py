"""The frames that went worst and best, as small pictures: image, label, prediction, confidence.

They are made while a run passes by, so that no frame has to be read again, and only a few are held.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from camss_ros.evaluation.result_folder import write_atomically
from camss_ros.images.drawing import colorize
from camss_ros.images.image_files import encode_image
from camss_ros.images.label_class import LabelClass

SHOWN = 4  # of the worst, and of the best
TILE_WIDTH = 320
_TILE_HEIGHT = 2000
_INDEX = "index.json"


@dataclass(frozen=True)
class Thumbnails:
    """A frame's pictures.

    Attributes:
        name: of the frame.
        score: what it was chosen by, 0 to 1.
        tiles: the content of an image file by its name, such as "label.png"; in order.
    """

    name: str
    score: float
    tiles: dict[str, bytes]


class FrameThumbnails:
    """Thumbnails of the `count` frames with the lowest scores and of those with the highest.

    `worst` begins with the lowest score, `best` with the highest; no frame is in both.
    """

    def __init__(self, classes: Sequence[LabelClass], count: int = SHOWN) -> None:
        self._classes = classes
        self._count = count
        self._lowest: list[Thumbnails] = []  # ascending
        self._highest: list[Thumbnails] = []  # descending

    def add(
        self,
        name: str,
        score: float,
        image: np.ndarray,
        label: np.ndarray | None,
        labels: np.ndarray,
        confidence: np.ndarray,
    ) -> None:
        """One frame: `image` uint8 [H, W, 3] RGB, all others uint8 [H, W]; `label` is the truth."""
        low = len(self._lowest) < self._count or score < self._lowest[-1].score
        high = len(self._highest) < self._count or score > self._highest[-1].score
        if not low and not high:
            return
        each = Thumbnails(name, score, self._tiles(image, label, labels, confidence))
        if low:
            bisect.insort_right(self._lowest, each, key=lambda s: s.score)
            del self._lowest[self._count :]
        if high:
            bisect.insort_right(self._highest, each, key=lambda s: -s.score)
            del self._highest[self._count :]

    @property
    def worst(self) -> list[Thumbnails]:
        return list(self._lowest)

    @property
    def best(self) -> list[Thumbnails]:
        shown = {each.name for each in self._lowest}
        return [each for each in self._highest if each.name not in shown]

    def save(self, folder: Path) -> None:
        """Write the thumbnails to `folder`, made if missing, in place of those that are there."""
        save_thumbnails(folder, self.worst, self.best)

    def _tiles(
        self,
        image: np.ndarray,
        label: np.ndarray | None,
        labels: np.ndarray,
        confidence: np.ndarray,
    ) -> dict[str, bytes]:
        tiles = {"image.jpg": encode_image(_shrink(image, cv2.INTER_AREA), ".jpg")}
        if label is not None:
            tiles["label.png"] = self._colored(label)
        tiles["prediction.png"] = self._colored(labels)
        small = _shrink(confidence, cv2.INTER_AREA)
        heat = cv2.cvtColor(cv2.applyColorMap(small, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
        tiles["confidence.jpg"] = encode_image(heat, ".jpg")
        return tiles

    def _colored(self, labels: np.ndarray) -> bytes:
        return encode_image(colorize(_shrink(labels, cv2.INTER_NEAREST), self._classes), ".png")


def save_thumbnails(folder: Path, worst: Sequence[Thumbnails], best: Sequence[Thumbnails]) -> None:
    """Write thumbnails for `load_thumbnails`."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    index: dict[str, list[dict[str, object]]] = {"worst": [], "best": []}
    for kind, thumbnails in (("worst", worst), ("best", best)):
        for each in thumbnails:
            for tile, data in each.tiles.items():
                write_atomically(folder / f"{each.name}.{tile}", data)
            entry = {"name": each.name, "score": each.score, "tiles": list(each.tiles)}
            index[kind].append(entry)
    write_atomically(folder / _INDEX, json.dumps(index, indent=2).encode())


def load_thumbnails(folder: Path) -> tuple[list[Thumbnails], list[Thumbnails]]:
    """The worst and the best thumbnails in `folder`. Raises OSError or ValueError."""
    index = json.loads((folder / _INDEX).read_text())

    def thumbnails(kind: str) -> list[Thumbnails]:
        return [
            Thumbnails(
                entry["name"],
                entry["score"],
                {
                    tile: (folder / f"{entry['name']}.{tile}").read_bytes()
                    for tile in entry["tiles"]
                },
            )
            for entry in index[kind]
        ]

    return thumbnails("worst"), thumbnails("best")


def _shrink(picture: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = picture.shape[:2]
    # Tall ones too: a JPEG has 65,500 rows at most.
    scale = min(1.0, TILE_WIDTH / width, _TILE_HEIGHT / height)
    if scale == 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=interpolation)
