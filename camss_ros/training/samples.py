"""Training samples by number, and the frames that they are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from rich.progress import track
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, default_collate

from camss_ros.data.augmentation import AugmentationOptions, augment
from camss_ros.data.data_error import DataError
from camss_ros.data.datasets import open_data
from camss_ros.data.label_sets import load_label_set
from camss_ros.data.synthetic import random_scene
from camss_ros.evaluation.metrics import ConfusionMatrix
from camss_ros.model.label_class import VOID, LabelClass
from camss_ros.training.config import DataConfig

Pair = tuple[np.ndarray, np.ndarray]


class Pairs(Protocol):
    """(image uint8 [H, W, 3] RGB, label uint8 [H, W], 255 where void) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Pair: ...


class ResizedPairs:
    """Frames of a data set without their names, resized to (height, width) if given."""

    def __init__(self, frames: Any, size: tuple[int, int] | None = None) -> None:
        self._frames, self._size = frames, size

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Pair:
        image, label, _ = self._frames[index]
        return (image, label) if self._size is None else resize_pair(image, label, self._size)


def resize_pair(image: np.ndarray, label: np.ndarray, size: tuple[int, int]) -> Pair:
    """Image by area, label by nearest neighbour, which makes no third class at a boundary."""
    height, width = size
    return (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
        cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST),
    )


def open_pairs(config: DataConfig) -> tuple[Pairs, Pairs, tuple[LabelClass, ...]]:
    """Frames to train on, frames to validate on, and their classes.

    Raises:
        DataError, LabelSetError: the data set is not what was expected, with the file named.
    """
    if config.root is None:
        raise DataError(f"data.root of {config.name} is not given: add --root FOLDER")
    root, label_set = config.root, config.label_set
    splits = [open_data(config.name, root, one, label_set) for one in config.split.split("+")]
    validation = open_data(config.name, root, config.validation_split, label_set)
    chosen = range(0, len(validation), config.validation_every)
    pairs: list[Pairs] = [
        ResizedPairs(ConcatDataset(splits), config.size),  # type: ignore[arg-type]
        ResizedPairs(Subset(validation, chosen), config.size),  # type: ignore[arg-type]
    ]
    if config.in_memory:
        pairs = [[one[i] for i in track(range(len(one)), "reading frames")] for one in pairs]
    return pairs[0], pairs[1], splits[0].label_set.classes


def synthetic_scenes(
    config: DataConfig, classes: tuple[LabelClass, ...], size: tuple[int, int]
) -> list[Pair]:
    """The synthetic scenes that the configuration asks for.

    Raises:
        DataError: the classes are not those of the synthetic street.
    """
    if config.synthetic_scenes and classes != load_label_set("camvid11").classes:
        raise DataError(
            "the synthetic street has camvid11 labels only: set data.synthetic_scenes and "
            "data.synthetic_share to 0"
        )
    indices = track(range(config.synthetic_scenes), "drawing synthetic scenes")
    return [random_scene(index, *size) for index in indices]


class TrainingSamples(Dataset[Any]):
    """The samples of a run, by number: step n takes those from n * batch on.

    A sample depends on the seed and its number alone, whichever process makes it. Frames are
    taken in another order each epoch.

    Args:
        pairs: frames, which a synthetic share and focus classes come on top of.
        config: shares of synthetic scenes and focus classes.
        classes: of the labels.
        synthetic: scenes.
        augmentation: of each sample.
        batch: samples of a step.
        seed: of everything random.
        draw: (index in the step, generator of the step, generator of the sample) -> what else is
            random in a sample, by name.
    """

    def __init__(
        self,
        pairs: Pairs,
        config: DataConfig,
        classes: Sequence[LabelClass],
        synthetic: Sequence[Pair],
        augmentation: AugmentationOptions,
        batch: int,
        seed: int,
        draw: Callable[[int, np.random.Generator, np.random.Generator], dict[str, Any]],
    ) -> None:
        ids = {one.name: one.id for one in classes}
        unknown = [name for name in config.focus_classes if name not in ids]
        if unknown:
            raise DataError(f"data.focus_classes has {unknown}: the classes are {list(ids)}")
        self._focus = np.array([ids[name] for name in config.focus_classes], np.uint8)
        self._pairs, self._config, self._synthetic = pairs, config, synthetic
        self._augmentation, self._batch, self._seed, self._draw = augmentation, batch, seed, draw
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __getitem__(self, number: int) -> dict[str, Any] | Exception:
        """The sample, or the error that kept it from being read.

        An error is a value here, so that no worker process wraps it into a traceback.
        """
        step, index = divmod(number, self._batch)
        rng = np.random.default_rng([self._seed, step, index])
        try:
            image, label = self._frame(number, rng)
        except DataError as error:
            return error
        image, label = self._augment(image, label, rng)
        of_step = np.random.default_rng([self._seed, step])
        return {
            "images": np.ascontiguousarray(image.transpose(2, 0, 1)),
            "labels": label,
            **self._draw(index, of_step, rng),
        }

    def _frame(self, number: int, rng: np.random.Generator) -> Pair:
        if rng.random() < self._config.synthetic_share:
            return self._synthetic[int(rng.integers(len(self._synthetic)))]
        epoch, place = divmod(number, len(self._pairs))
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, epoch, 0, 1]).permutation(len(self._pairs))
            self._order = (epoch, order)
        return self._pairs[int(self._order[1][place])]

    def _augment(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        focus = None
        if rng.random() < self._config.focus_share:
            present = np.intersect1d(self._focus, label)
            if present.size:
                places = np.argwhere(label == rng.choice(present))
                focus = tuple(places[rng.integers(len(places))].tolist())
        return augment(image, label, self._augmentation, rng, focus)


def collate(samples: list[dict[str, Any] | Exception]) -> dict[str, Tensor] | Exception:
    """Stack samples; the first error among them if there is one."""
    error = next((one for one in samples if isinstance(one, Exception)), None)
    return default_collate(samples) if error is None else error


def class_weights(pairs: Pairs, classes: int, power: float = 0.5) -> Tensor:
    """`label_weights` of the frames, with a progress bar."""
    indices = track(range(len(pairs)), "counting classes")
    return label_weights((pairs[index][1] for index in indices), classes, power)


def label_weights(labels: Iterable[np.ndarray], classes: int, power: float = 0.5) -> Tensor:
    """Class shares to minus `power`, mean 1 over pixels: [classes] float32."""
    counts = np.zeros(classes)
    for label in labels:
        counts += np.bincount(label.ravel(), minlength=256)[:classes]
    shares = np.maximum(counts / counts.sum(), 1e-4)
    weights = shares**-power
    return torch.from_numpy(weights / (weights * shares).sum()).float()


def validation_scores(
    pairs: Pairs,
    classes: int,
    predict: Callable[[Tensor, Tensor], Tensor],
    accelerator: Accelerator,
    size: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Mean and per-class IoU, each process predicting its part of the frames.

    Args:
        predict: (images uint8 [1, 3, H, W], labels int64 [1, H, W]) on the device -> class ids;
            ids from `classes` on are void.
        size: (height, width) that frames are resized to; by default the next multiple of 16 down.
    """
    confusion = ConfusionMatrix(classes)
    for index in range(accelerator.process_index, len(pairs), accelerator.num_processes):
        image, label = pairs[index]
        height, width = size or (16 * (label.shape[0] // 16), 16 * (label.shape[1] // 16))
        image, label = resize_pair(image, label, (height, width))
        images = torch.from_numpy(image).permute(2, 0, 1)[None].to(accelerator.device)
        labels = torch.from_numpy(label)[None].long().to(accelerator.device)
        predicted = predict(images, labels)[0].cpu()
        confusion.add(label, predicted.where(predicted < classes, VOID).to(torch.uint8).numpy())
    counts = torch.from_numpy(confusion.counts).to(accelerator.device)
    confusion.counts = accelerator.reduce(counts, "sum").cpu().numpy()
    scores = confusion.scores()
    per_class = {f"iou_{index}": float(iou) for index, iou in enumerate(scores.per_class_iou)}
    return {"miou": scores.miou, **per_class}
