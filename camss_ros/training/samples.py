"""Labelled frames held in memory, with a share of synthetic scenes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from camss_ros.data.folder import LabeledFolder
from camss_ros.data.synthetic import random_scene
from camss_ros.evaluation.metrics import ConfusionMatrix


@dataclass
class LabelledFrames:
    """A labelled data set that fits into memory, and synthetic scenes beside it.

    Attributes:
        images: uint8 [H, W, 3] RGB each.
        labels: uint8 [H, W] each, 255 where void.
        classes: number of classes.
        synthetic: scenes (image, label), as above.
        synthetic_share: share of `draw` that comes from them.
    """

    images: list[np.ndarray]
    labels: list[np.ndarray]
    classes: int
    synthetic: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    synthetic_share: float = 0.0
    _frames_of: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def add_synthetic(self, scenes: int, share: float, seed: int = 0) -> None:
        """Draw `scenes` random street scenes (camvid11 ids) of the first frame's size."""
        height, width = self.labels[0].shape
        self.synthetic_share = share
        self.synthetic = [
            random_scene(seed + index, height, width)
            for index in track(range(scenes), "drawing synthetic scenes")
        ]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One random labelled frame."""
        if rng.random() < self.synthetic_share:
            return self.synthetic[int(rng.integers(len(self.synthetic)))]
        index = int(rng.integers(len(self.images)))
        return self.images[index], self.labels[index]

    def draw_focused(
        self, rng: np.random.Generator, classes: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """A frame that shows a class drawn evenly from `classes`, and a pixel (y, x) of it."""
        chosen = int(rng.choice([c for c in classes if len(self._showing(c))]))
        showing = self._showing(chosen)
        index = int(showing[rng.integers(len(showing))])
        places = np.flatnonzero(self.labels[index] == chosen)
        row, column = divmod(int(places[rng.integers(len(places))]), self.labels[index].shape[1])
        return self.images[index], self.labels[index], (row, column)

    def _showing(self, label: int) -> np.ndarray:
        """Indices of the frames with at least 40 pixels of a class."""
        if label not in self._frames_of:
            counts = np.array([(each == label).sum() for each in self.labels])
            self._frames_of[label] = np.flatnonzero(counts >= 40)
        return self._frames_of[label]

    def multiple_of_16(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every frame resized to the next lower multiple of 16."""
        for image, label in zip(self.images, self.labels, strict=True):
            height, width = (16 * (side // 16) for side in label.shape)
            yield (
                cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
                cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST),
            )


def load_frames(folder: LabeledFolder, every: int = 1) -> LabelledFrames:
    """Read a split, or every n-th frame of it, into memory."""
    indices = range(0, len(folder), every)
    pairs = [folder[index] for index in track(indices, "reading frames")]
    images = [image for image, _, _ in pairs]
    labels = [label for _, label, _ in pairs]
    return LabelledFrames(images, labels, len(folder.label_set.classes))


def class_weights(frames: LabelledFrames) -> Tensor:
    """Inverse square root of the class shares, mean 1 over pixels: [classes] float32."""
    counts = np.zeros(frames.classes)
    for label in frames.labels:
        counts += np.bincount(label.ravel(), minlength=256)[: frames.classes]
    shares = np.maximum(counts / counts.sum(), 1e-4)
    weights = shares**-0.5
    return torch.from_numpy(weights / (weights * shares).sum()).float()


@torch.no_grad()
def validation_miou(
    frames: LabelledFrames, predict: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    """Mean and per-class IoU of `predict(images uint8 [1, H, W, 3], labels) -> class ids`."""
    confusion = ConfusionMatrix(frames.classes)
    for image, label in frames.multiple_of_16():
        labels = torch.from_numpy(label)[None].long()
        predicted = predict(torch.from_numpy(image)[None], labels)
        confusion.add(label, predicted[0].to(torch.uint8).numpy())
    scores = confusion.scores()
    per_class = {f"iou_{index}": float(iou) for index, iou in enumerate(scores.per_class_iou)}
    return {"miou": scores.miou, **per_class}
