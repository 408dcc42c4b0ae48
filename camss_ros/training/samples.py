"""Training samples by number, and what the averaged model scores on the frames held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from camss_ros.datasets.augmentation import random_view
from camss_ros.datasets.photometry import apply_photometry, draw_photometry
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.metrics import confusion_scores
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import VOID
from camss_ros.training.config import AnyConfig
from camss_ros.training.sources import (
    Pair,
    TrainingData,
    ValidationSource,
    resize_pair,
    synthetic_scenes,
    whole_tokens,
)

Draw = Callable[[int, torch.Generator], dict[str, Tensor]]

# Samples in which each source is drawn just as often as its share says.
_CYCLE = 1000


class TrainingSamples(Dataset[Any]):
    """The samples of a run, by number: step n takes those from n * batch on.

    A sample depends on the seed and its number alone, whichever process makes it. Frames of a
    source are taken in another order each epoch. What is done to pixels is done to whole batches,
    on the device that trains (`complete`).

    Attributes:
        classes: names of the model's classes.

    Args:
        config: of the training.
        data: frames, which synthetic scenes come on top of.
        draw: (samples of a step, generator on the device that trains) -> what else is random in
            them, by name: [samples, ...] each.
        images: False where only labels are trained on.

    Raises:
        DataError: a focus class is none of the data's; or see `synthetic_scenes`.
    """

    def __init__(
        self, config: AnyConfig, data: TrainingData, draw: Draw, images: bool = True
    ) -> None:
        focus_classes = config.data.focus_classes
        ids = {one.name: one.id for one in data.classes}
        self.classes = list(ids)
        unknown = [name for name in focus_classes if name not in ids]
        if unknown:
            raise DataError(f"data.focus_classes has {unknown}: the classes are {list(ids)}")
        focus = [ids[name] for name in focus_classes]
        # a label of several classes is rare if all of them are
        members = data.codes.members()
        rare = ~np.delete(members, focus, axis=1).any(axis=1)
        self._focus = np.flatnonzero(rare)
        self.config, self._seed = config, config.loop.seed
        self._sources, self._draw, self._images = data.sources, draw, images
        self._synthetic = synthetic_scenes(config.data, data)
        shares = np.cumsum([0.0, *(source.share for source in data.sources)])
        ends = np.rint(_CYCLE * shares / shares[-1]).astype(int)
        self._cycle = np.repeat(np.arange(len(data.sources)), np.diff(ends))
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __getitem__(self, number: int) -> dict[str, Any] | Exception:
        """The sample but for what `complete` adds, or the error that kept it from being read.

        An error is a value here, so that no worker process wraps it into a traceback.
        """
        step, index = divmod(number, self.config.loop.batch)
        rng = np.random.default_rng([self._seed, step, index])
        try:
            image, label = self._frame(number, rng)
        except DataError as error:
            return error
        options = self.config.augmentation
        view = random_view(label.shape, options, rng, self._focus_of(label, rng))
        sample: dict[str, Any] = {"labels": view.of_label(label)}
        if self._images:
            sample["images"] = np.ascontiguousarray(view.of_image(image).transpose(2, 0, 1))
            sample["photometry"] = draw_photometry(options, rng)
        return sample

    def complete(
        self, batch: dict[str, Any], step: int, first: int, device: torch.device
    ) -> dict[str, Tensor]:
        """Samples on the device that trains, with their photometry and what else is random.

        Args:
            batch: of `collate`.
            step: that they are of.
            first: place of the first of them in the step.
            device: where to.
        """
        photometry = batch.pop("photometry", None)
        there = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        if photometry is not None:
            there["images"] = apply_photometry(there["images"], photometry)
        generator = torch.Generator(device)
        seed = np.random.SeedSequence([self._seed, step]).generate_state(1, np.uint64)[0]
        generator.manual_seed(int(seed) >> 1)
        own = slice(first, first + len(there["labels"]))
        # of the whole step in every process, which is less work than its own samples' images
        draws = self._draw(self.config.loop.batch, generator)
        return {**there, **{name: value[own] for name, value in draws.items()}}

    def _frame(self, number: int, rng: np.random.Generator) -> Pair:
        if rng.random() < self.config.data.synthetic_share:
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

    def _focus_of(self, label: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
        """For a share of the samples a pixel of a rare class, where there is one."""
        if rng.random() >= self.config.data.focus_share:
            return None
        present = np.flatnonzero(np.bincount(label.ravel(), minlength=256))
        present = np.intersect1d(self._focus, present)
        if not present.size:
            return None
        places = np.flatnonzero(label == rng.choice(present))
        return divmod(int(places[rng.integers(len(places))]), label.shape[1])


def window_in_tokens(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(height, width) in tokens of windows of `augmentation.size`.

    Raises:
        DataError: a side is not a multiple of the stride.
    """
    height, width = size
    if height % stride or width % stride:
        raise DataError(
            f"augmentation.size is {height} x {width}: its sides must be multiples of {stride}"
        )
    return height // stride, width // stride


def collate(samples: list[dict[str, Any] | Exception]) -> dict[str, Any] | Exception:
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
        size: (height, width) of frames whose source asks for none; by default their own. Frames
            are resized to `whole_tokens` of it.
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
        image, label = resize_pair(image, label, whole_tokens(source.size or size or label.shape))
        images = torch.from_numpy(image).permute(2, 0, 1)[None].to(accelerator.device)
        labels = torch.from_numpy(label)[None].long().to(accelerator.device)
        predicted = to_source[predict(images, labels)[0].cpu()]
        accumulator.add(label, predicted.where(predicted < source.classes, VOID).numpy())
    confusion = torch.from_numpy(accumulator.confusion).to(accelerator.device)
    scores = confusion_scores(accelerator.reduce(confusion, "sum").cpu().numpy())
    per_class = {f"iou_{index}": float(iou) for index, iou in enumerate(scores.per_class_iou)}
    return {"miou": scores.miou, **per_class}
