"""Scores of a model on a labelled data set."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from rich.table import Table

from camss_ros.data.label_sets import LabelSet
from camss_ros.evaluation.metrics import ConfusionMatrix, Scores
from camss_ros.inference.segmenter import Segmentation
from camss_ros.model.label_class import VOID, LabelClass


class LabeledFrames(Protocol):
    """What is evaluated: (image uint8 [H, W, 3], label uint8 [H, W], name) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray, str]: ...


class FrameSegmenter(Protocol):
    """The part of `Segmenter` that an evaluation uses."""

    @property
    def classes(self) -> Sequence[LabelClass]: ...

    def segment(self, image: np.ndarray, /) -> Segmentation: ...


@dataclass(frozen=True)
class Evaluation:
    """Result: scores over all frames, their number, and the mean time of one in seconds."""

    scores: Scores
    frames: int
    seconds_per_frame: float


def class_table(model: Sequence[LabelClass], data: LabelSet) -> np.ndarray:
    """uint8 [256]: the data set's class id, or 255, for each class id of the model.

    Classes correspond by name. Raises ValueError that names the classes on one side only.
    """
    ids = {label_class.name: label_class.id for label_class in data.classes}
    own = {label_class.name: label_class.id for label_class in model if label_class.id != VOID}
    if ids.keys() != own.keys():
        missing = ", ".join(sorted(ids.keys() - own.keys())) or "none"
        extra = ", ".join(sorted(own.keys() - ids.keys())) or "none"
        raise ValueError(
            f"the model does not know the classes of {data.name}: missing in the model: {missing}; "
            f"only in the model: {extra}; map the data's labels onto the model's label set"
        )
    table = np.full(256, VOID, np.uint8)
    for name, class_id in own.items():
        table[class_id] = ids[name]
    return table


def evaluate(
    segmenter: FrameSegmenter,
    frames: LabeledFrames,
    label_set: LabelSet,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Segments every frame and compares it with its label.

    `progress` is called with the number of frames done. Raises ValueError where model and data
    have different classes.
    """
    table = class_table(segmenter.classes, label_set)
    matrix = ConfusionMatrix(len(label_set.classes))
    seconds = 0.0
    for index in range(len(frames)):
        image, label, _ = frames[index]
        result = segmenter.segment(image)
        seconds += result.timings["total"]
        matrix.add(label, table[result.labels])
        progress(index + 1)
    return Evaluation(matrix.scores(), len(frames), seconds / max(len(frames), 1))


def scores_report(scores: Scores, label_set: LabelSet) -> dict[str, Any]:
    """The scores as JSON values: 0 to 1, null where a class does not occur."""

    def by_class(values: np.ndarray) -> dict[str, float | None]:
        pairs = zip(label_set.classes, values.tolist(), strict=True)
        return {label_class.name: _number(value) for label_class, value in pairs}

    return {
        "miou": _number(scores.miou),
        "per_class_iou": by_class(scores.per_class_iou),
        "precision_void_excluded": _number(scores.precision_void_excluded),
        "per_class_precision": by_class(scores.per_class_precision),
        "per_class_recall": by_class(scores.per_class_recall),
        "pixel_accuracy": _number(scores.pixel_accuracy),
    }


def report(
    evaluation: Evaluation,
    label_set: LabelSet,
    *,
    data: dict[str, str],
    model: dict[str, Any],
    sampling: dict[str, Any],
) -> dict[str, Any]:
    """The evaluation as JSON values: scores from 0 to 1, null where a class does not occur."""
    import cv2
    import torch

    import camss_ros

    return {
        **scores_report(evaluation.scores, label_set),
        "data": {**data, "label_set": label_set.name},
        "model": model,
        "sampling": sampling,
        "frames": evaluation.frames,
        "seconds_per_frame": evaluation.seconds_per_frame,
        "versions": {
            "camss_ros": camss_ros.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "python": platform.python_version(),
        },
    }


def score_table(evaluation: Evaluation, label_set: LabelSet) -> Table:
    """The scores for a terminal, in percent."""
    scores = evaluation.scores
    table = Table(title=f"{evaluation.frames} frames, {evaluation.seconds_per_frame:.3f} s a frame")
    table.add_column("class")
    for column in ("IoU", "precision", "recall"):
        table.add_column(column, justify="right")
    rows = zip(
        label_set.classes,
        scores.per_class_iou,
        scores.per_class_precision,
        scores.per_class_recall,
        strict=True,
    )
    for label_class, *values in rows:
        table.add_row(label_class.name, *map(_percent, values))
    table.add_section()
    table.add_row("mean", _percent(scores.miou), _percent(scores.precision_void_excluded), "")
    table.add_row("pixel accuracy", _percent(scores.pixel_accuracy), "", "")
    return table


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
