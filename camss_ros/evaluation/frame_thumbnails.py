"""The frames that went worst and best, as small pictures: image, label, prediction, confidence.

They are made during the run, so that no frame is read again; only a few are kept in memory.
"""

from __future__ import annotations

import base64
import bisect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        score: what it was chosen by.
        tiles: the content of an image file by its name, such as "label.png"; in order.
    """

    name: str
    score: float
    tiles: dict[str, bytes]

    def captioned(self, by_score: str, sign: str = "", part: str = "") -> dict[str, Any]:
        """For a page that needs no other file: `caption`, which names the score, and `title` and
        `uri` of each of the `tiles`. `sign`: "+" for a score that is a difference."""
        kinds = {".jpg": "image/jpeg", ".png": "image/png"}
        return {
            "caption": f"{part}{self.name}: {by_score} {100 * self.score:{sign}.1f} %",
            "tiles": [
                {
                    "title": Path(tile).stem,
                    "uri": f"data:{kinds[Path(tile).suffix]};base64,"
                    f"{base64.b64encode(data).decode()}",
                }
                for tile, data in self.tiles.items()
            ],
        }


class FrameThumbnails:
    """Thumbnails of the `count` frames with the lowest scores and of those with the highest."""

    def __init__(self, classes: Sequence[LabelClass], count: int = SHOWN) -> None:
        self._classes = classes
        self._count = count
        self._kept: list[Thumbnails] = []  # by score, ascending

    def add(
        self,
        name: str,
        score: float,
        image: np.ndarray,
        label: np.ndarray | None,
        labels: np.ndarray,
        confidence: np.ndarray,
    ) -> None:
        """One frame.

        Args:
            score: what it is chosen by; not NaN.
            image: uint8 [H, W, 3] RGB.
            label, labels: uint8 [H, W], true (None if not known) and predicted class ids.
            confidence: uint8 [H, W], probability times 255.
        """

        def tiles() -> dict[str, bytes]:
            small = _shrink(confidence, cv2.INTER_AREA)
            heat = cv2.cvtColor(cv2.applyColorMap(small, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
            truth = {} if label is None else {"label.png": colored_tile(label, self._classes)}
            return {
                "image.jpg": image_tile(image),
                **truth,
                "prediction.png": colored_tile(labels, self._classes),
                "confidence.jpg": encode_image(heat, ".jpg"),
            }

        self.keep(name, score, tiles)

    def keep(self, name: str, score: float, tiles: Callable[[], dict[str, bytes]]) -> None:
        """One frame; its tiles are made if it is among the worst or the best so far."""
        kept, count = self._kept, self._count
        if len(kept) == 2 * count and kept[count - 1].score <= score <= kept[count].score:
            return
        each = Thumbnails(name, score, tiles())
        bisect.insort_right(kept, each, key=lambda thumbnails: thumbnails.score)
        del kept[count:-count]

    @property
    def worst(self) -> list[Thumbnails]:
        """Those with the lowest scores, the lowest first."""
        return self._kept[: self._count]

    @property
    def best(self) -> list[Thumbnails]:
        """Those with the highest scores, the highest first; none of the worst."""
        return self._kept[self._count :][::-1]

    def save(self, folder: Path) -> None:
        """Write the thumbnails to `folder`, made if missing, in place of those that are there."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        index: dict[str, list[dict[str, object]]] = {"worst": [], "best": []}
        for kind, thumbnails in (("worst", self.worst), ("best", self.best)):
            for each in thumbnails:
                for tile, data in each.tiles.items():
                    write_atomically(folder / f"{each.name}.{tile}", data)
                entry = {"name": each.name, "score": each.score, "tiles": list(each.tiles)}
                index[kind].append(entry)
        write_atomically(folder / _INDEX, json.dumps(index, indent=2).encode())


def image_tile(image: np.ndarray) -> bytes:
    """JPEG of a frame, uint8 [H, W, 3] RGB."""
    return encode_image(_shrink(image, cv2.INTER_AREA), ".jpg")


def colored_tile(labels: np.ndarray, classes: Sequence[LabelClass]) -> bytes:
    """PNG of a label image, uint8 [H, W], in the colours of its classes."""
    return encode_image(colorize(_shrink(labels, cv2.INTER_NEAREST), classes), ".png")


def load_thumbnails(folder: Path) -> tuple[list[Thumbnails], list[Thumbnails]]:
    """The worst and the best thumbnails in `folder`. Raises OSError or ValueError."""
    index = json.loads((folder / _INDEX).read_text())

    def load(entry: dict[str, Any]) -> Thumbnails:
        name = entry["name"]
        tiles = {tile: (folder / f"{name}.{tile}").read_bytes() for tile in entry["tiles"]}
        return Thumbnails(name, entry["score"], tiles)

    return [load(entry) for entry in index["worst"]], [load(entry) for entry in index["best"]]


def _shrink(picture: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = picture.shape[:2]
    # Tall ones too: a JPEG has 65,500 rows at most.
    scale = min(1.0, TILE_WIDTH / width, _TILE_HEIGHT / height)
    if scale == 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=interpolation)
