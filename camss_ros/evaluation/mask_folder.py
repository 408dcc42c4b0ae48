"""The predictions of a run as files: masks and, beside them, how sure the network was.

    masks/NAME.png        class ids, 8 bit, one channel
    confidence/NAME.png   probability of the class times 255, 8 bit, one channel

A mask that exists is a frame that is done: it is written last.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camss_ros.evaluation.result_folder import read_mask, write_image
from camss_ros.images.nearest import resize_nearest

FOLDERS = ("masks", "confidence")


@dataclass(frozen=True)
class Prediction:
    """For one frame: `labels` uint8 [H, W], the model's class ids; `confidence` uint8 [H, W],
    probability of the class times 255."""

    labels: np.ndarray
    confidence: np.ndarray


class MaskFolder:
    """The predictions in a folder, by the name of their frame. The two folders must exist."""

    def __init__(self, output: Path) -> None:
        self._masks, self._confidence = (output / folder for folder in FOLDERS)

    def mask(self, name: str) -> Path:
        """The file of a mask, which need not exist."""
        return self._masks / f"{name}.png"

    def read(self, name: str, shape: tuple[int, ...]) -> Prediction | None:
        """The prediction, scaled to `shape` (height, width) where it has another size.

        None where there is none, or not a whole one. Scaling takes the nearest pixel.
        """
        labels = read_mask(self.mask(name))
        confidence = None if labels is None else read_mask(self._confidence / f"{name}.png")
        if labels is None or confidence is None or labels.shape != confidence.shape:
            return None
        if labels.shape != shape:
            labels, confidence = (resize_nearest(values, shape) for values in (labels, confidence))
        return Prediction(labels, confidence)

    def write(self, name: str, prediction: Prediction) -> None:
        """Keep a prediction. Raises OSError."""
        write_image(self._confidence / f"{name}.png", prediction.confidence)
        write_image(self.mask(name), prediction.labels)
