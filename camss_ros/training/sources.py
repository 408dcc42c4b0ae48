"""The frames that a run is trained and validated on, of one data set or of several."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from torch.utils.data import ConcatDataset

from camss_ros.datasets.datasets import open_data, told_apart
from camss_ros.evaluation.evaluate import every_nth
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import VOID, LabelClass
from camss_ros.images.label_sets import LabelSet, load_label_set
from camss_ros.images.nearest import resize_nearest
from camss_ros.street.synthetic import random_scene
from camss_ros.training.config import DataConfig, SourceConfig
from camss_ros.training.label_codes import LabelCodes, code_shares
from camss_ros.training.progress import track

Pair = tuple[np.ndarray, np.ndarray]

_SAME = np.arange(256, dtype=np.uint8)


class Pairs(Protocol):
    """(image uint8 [H, W, 3] RGB, label uint8 [H, W], 255 where void) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Pair: ...


@dataclass(frozen=True)
class TrainingSource:
    """Frames to train on, whose labels are codes, and how often they are drawn."""

    pairs: Pairs
    share: float = 1.0


@dataclass(frozen=True)
class ValidationSource:
    """Frames to validate on, with the labels of their data set.

    Attributes:
        name: in the names of the scores; empty where there is one source only.
        pairs: the frames.
        classes: of the data set.
        to_source: uint8 [256], class of the data set for each class of the model, 255 for none.
        size: (height, width) of the network's images; None if nothing asks for one.
    """

    name: str
    pairs: Pairs
    classes: int
    to_source: np.ndarray
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class TrainingData:
    """What a run is trained and validated on.

    Attributes:
        sources: to train on.
        validation: to validate on.
        classes: of the model.
        codes: what the labels to train on stand for.
    """

    sources: tuple[TrainingSource, ...]
    validation: tuple[ValidationSource, ...]
    classes: tuple[LabelClass, ...]
    codes: LabelCodes

    def code_shares(self, codes: LabelCodes, void_is_last: bool = False) -> np.ndarray:
        """Share of each code among the labelled pixels that are drawn; see `code_shares`."""
        total = sum(source.share for source in self.sources)
        shares = np.zeros(len(codes))
        for source in self.sources:
            indices = track(range(len(source.pairs)), "counting classes")
            labels = (source.pairs[index][1] for index in indices)
            shares += source.share / total * code_shares(labels, codes, void_is_last)
        return shares


class PreparedPairs:
    """Frames of a data set without their names.

    Args:
        frames: (image, label, name) by index.
        table: uint8 [256], what a label becomes.
        size: (height, width) to resize to, if given.
    """

    def __init__(self, frames: Any, table: np.ndarray, size: tuple[int, int] | None = None) -> None:
        self._frames, self._table, self._size = frames, table, size

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Pair:
        image, label, _ = self._frames[index]
        label = self._table[label]
        return (image, label) if self._size is None else resize_pair(image, label, self._size)


def resize_pair(image: np.ndarray, label: np.ndarray, size: tuple[int, int]) -> Pair:
    """Resize both to (height, width).

    The image by area, or by cubic interpolation where a side grows; the label by the
    nearest pixel.
    """
    height, width = size
    # area averages where it makes smaller, and repeats pixels where it makes larger
    enlarges = height > image.shape[0] or width > image.shape[1]
    return (
        cv2.resize(
            image,
            (width, height),
            interpolation=cv2.INTER_CUBIC if enlarges else cv2.INTER_AREA,
        ),
        resize_nearest(label, size),
    )


def whole_tokens(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) rounded down to multiples of 16, at least one of each."""
    height, width = (16 * max(1, side // 16) for side in size)
    return height, width


def open_training_data(config: DataConfig, candidates: bool = False) -> TrainingData:
    """Read the data sets that the configuration names.

    Args:
        config: which.
        candidates: labels may stand for several classes of the model. Else such a one is the first
            of them, and what is validated on has the model's classes, too: for trainings on label
            images, where it is their shapes that matter.

    Raises:
        DataError, LabelSetError: a data set is not what was expected, with the file named.
    """
    if config.root is None:
        raise DataError("data.root is not given: add --root FOLDER")
    root = Path(config.root)
    opened = [
        [open_data(source.name, root / source.root, split) for split in source.split.split("+")]
        for source in config.sources
    ]
    own = [splits[0].label_set for splits in opened]
    target = own[0] if config.label_set is None else load_label_set(config.label_set)
    labels = [_labels(label_set, target, candidates) for label_set in own]
    codes = LabelCodes.of(len(target.classes), (ids for each in labels for ids in each))
    sources, validation = [], []
    names = [""]
    if len(config.sources) > 1:
        names = told_apart([(root / source.root).name for source in config.sources])
    for source, splits, label_set, each, name in zip(
        config.sources, opened, own, labels, names, strict=True
    ):
        frames: Any = ConcatDataset(splits)  # type: ignore[arg-type]
        pairs = _prepared(frames, codes.table(each), source, config)
        _check_labelled(pairs, root / source.root, source.split)
        sources.append(TrainingSource(pairs, source.share))
        if source.validation_split is not None:
            held_out = open_data(source.name, root / source.root, source.validation_split)
            chosen = every_nth(held_out, config.validation_every)
            judged, table = (label_set, _SAME) if candidates else (target, codes.table(each))
            judged_pairs = _prepared(chosen, table, source, config)
            _check_labelled(judged_pairs, root / source.root, source.validation_split)
            validation.append(
                ValidationSource(
                    name,
                    judged_pairs,
                    len(judged.classes),
                    _SAME if judged.classes == target.classes else target.to(judged),
                    source.size,
                )
            )
    return TrainingData(tuple(sources), tuple(validation), target.classes, codes)


def _labels(own: LabelSet, target: LabelSet, candidates: bool) -> tuple[tuple[int, ...], ...]:
    """What each label of a data set may be among the classes of the model; () where void."""
    if own.classes == target.classes:
        return tuple((label_class.id,) for label_class in own.classes)
    found = own.candidates_in(target)
    return found if candidates else tuple(ids[:1] for ids in found)


def _check_labelled(pairs: Pairs, root: Path, split: str) -> None:
    """Raise DataError where no pixel has a class, as in the test splits of some data sets."""
    if all((pairs[index][1] == VOID).all() for index in range(len(pairs))):
        raise DataError(f"{root}: no pixel of the split {split!r} has a class: name another split")


def _prepared(frames: Any, table: np.ndarray, source: SourceConfig, config: DataConfig) -> Pairs:
    pairs = PreparedPairs(frames, table, source.size)
    if not config.in_memory:
        return pairs
    folder = Path(config.root or "", source.root).absolute()  # without a ".", which says little
    # decoding leaves the interpreter to others
    with ThreadPoolExecutor() as readers:
        frames = readers.map(pairs.__getitem__, range(len(pairs)))
        return list(track(frames, f"reading {folder.name}", total=len(pairs)))


def synthetic_scenes(config: DataConfig, data: TrainingData) -> list[Pair]:
    """The synthetic scenes that the configuration asks for, of the size of the first frame.

    Raises:
        DataError: the classes are not those of the synthetic street.
    """
    if config.synthetic_share == 0:
        return []
    if data.classes != load_label_set("camvid11").classes:
        raise DataError(
            "the synthetic street has camvid11 labels only: set data.synthetic_share to 0"
        )
    height, width = data.sources[0].pairs[0][1].shape
    indices = track(range(config.synthetic_scenes), "drawing synthetic scenes")
    return [random_scene(index, height, width) for index in indices]
