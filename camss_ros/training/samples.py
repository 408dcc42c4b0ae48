"""Training samples by number, and what the averaged model scores on the frames held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from camss_ros.datasets.augmentation import AugmentationOptions, augment
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.metrics import confusion_scores
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import VOID
from camss_ros.training.config import AnyConfig, DataConfig
from camss_ros.training.sources import (
    Pair,
    TrainingData,
    ValidationSource,
    resize_pair,
    synthetic_scenes,
)

Draw = Callable[[int, np.random.Generator, np.random.Generator], dict[str, Any]]

# Samples in which each source is drawn just as often as its share says.
_CYCLE = 1000


class TrainingSamples(Dataset[Any]):
    """The samples of a run, by number: step n takes those from n * batch on.

    A sample depends on the seed and its number alone, whichever process makes it. Frames of a
    source are taken in another order each epoch.

    Args:
        data: frames, which a synthetic share and focus classes come on top of.
        config: shares of synthetic scenes and focus classes.
        synthetic: scenes.
        augmentation: of each sample.
        batch: samples of a step.
        seed: of everything random.
        draw: (index in the step, generator of the step, generator of the sample) -> what else is
            random in a sample, by name.
    """

    def __init__(
        self,
        data: TrainingData,
        config: DataConfig,
        synthetic: Sequence[Pair],
        augmentation: AugmentationOptions,
        batch: int,
        seed: int,
        draw: Draw,
    ) -> None:
        ids = {one.name: one.id for one in data.classes}
        unknown = [name for name in config.focus_classes if name not in ids]
        if unknown:
            raise DataError(f"data.focus_classes has {unknown}: the classes are {list(ids)}")
        focus = [ids[name] for name in config.focus_classes]
        # a label of several classes is rare if all of them are
        members = data.codes.members()
        rare = members.any(axis=1) & ~np.delete(members, focus, axis=1).any(axis=1)
        self._focus = np.flatnonzero(rare)
        self._sources, self._config, self._synthetic = data.sources, config, synthetic
        self._augmentation, self._batch, self._seed, self._draw = augmentation, batch, seed, draw
        shares = np.cumsum([0.0, *(source.share for source in data.sources)])
        ends = np.rint(_CYCLE * shares / shares[-1]).astype(int)
        self._cycle = np.repeat(np.arange(len(data.sources)), np.diff(ends))
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    @classmethod
    def of(cls, config: AnyConfig, data: TrainingData, draw: Draw) -> TrainingSamples:
        """The samples that the configuration of a training asks for.

        Raises:
            DataError: see `synthetic_scenes`.
        """
        loop, synthetic = config.loop, synthetic_scenes(config.data, data)
        return cls(data, config.data, synthetic, config.augmentation, loop.batch, loop.seed, draw)

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
        source, place = self._place(number)
        pairs = self._sources[source].pairs
        epoch, place = divmod(place, len(pairs))
        return pairs[int(self._order(source, epoch, len(pairs))[place])]

    def _place(self, number: int) -> tuple[int, int]:
        """Which source a sample is of, and how many samples before it are."""
        cycle, rank = divmod(number, _CYCLE)
        order = self._cycle[self._order(-1, cycle, _CYCLE)]
        source = order[rank]
        before = cycle * int((order == source).sum()) + int((order[:rank] == source).sum())
        return int(source), before

    def _order(self, source: int, epoch: int, count: int) -> np.ndarray:
        """A permutation for each epoch of a source, the latest one kept; source -1 is the cycle."""
        latest, order = self._orders.get(source, (-1, np.empty(0, np.int64)))
        if latest != epoch:
            rng = np.random.default_rng([self._seed, epoch, source % _CYCLE, 1])
            order = rng.permutation(count)
            self._orders[source] = (epoch, order)
        return order

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


def validation_scores(
    sources: Sequence[ValidationSource],
    predict: Callable[[Tensor, Tensor], Tensor],
    accelerator: Accelerator,
    size: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Mean and per-class IoU, each process predicting its part of the frames.

    Of several sources, `miou` is the mean of theirs, and the names of the others end in the
    source's.

    Args:
        sources: with the frames.
        predict: (images uint8 [1, 3, H, W], labels int64 [1, H, W]) on the device -> class ids of
            the model; ids without a class there are void.
        size: (height, width) of frames whose source asks for none; by default their own. Sides are
            rounded down to multiples of 16.
    """
    parts = [_source_scores(source, predict, accelerator, size) for source in sources]
    if len(parts) == 1:
        return parts[0]
    named = {
        f"{name}_{source.name}": score
        for source, part in zip(sources, parts, strict=True)
        for name, score in part.items()
    }
    return {"miou": float(np.mean([part["miou"] for part in parts])), **named}


def _source_scores(
    source: ValidationSource,
    predict: Callable[[Tensor, Tensor], Tensor],
    accelerator: Accelerator,
    size: tuple[int, int] | None,
) -> dict[str, float]:
    accumulator = ScoreAccumulator(source.classes)
    to_source = torch.from_numpy(source.to_source)
    for index in range(accelerator.process_index, len(source.pairs), accelerator.num_processes):
        image, label = source.pairs[index]
        height, width = source.size or size or label.shape
        image, label = resize_pair(image, label, (16 * (height // 16), 16 * (width // 16)))
        images = torch.from_numpy(image).permute(2, 0, 1)[None].to(accelerator.device)
        labels = torch.from_numpy(label)[None].long().to(accelerator.device)
        predicted = to_source[predict(images, labels)[0].cpu()]
        accumulator.add(label, predicted.where(predicted < source.classes, VOID).numpy())
    confusion = torch.from_numpy(accumulator.confusion).to(accelerator.device)
    scores = confusion_scores(accelerator.reduce(confusion, "sum").cpu().numpy())
    per_class = {f"iou_{index}": float(iou) for index, iou in enumerate(scores.per_class_iou)}
    return {"miou": scores.miou, **per_class}
