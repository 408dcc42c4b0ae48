"""Scores of a model on a labelled data set."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from rich.table import Table

from camss_ros.evaluation.boundary import DILATION_RATIO, BoundaryIoU, BoundaryScores
from camss_ros.evaluation.calibration import Calibration, Reliability
from camss_ros.evaluation.flicker import Flicker
from camss_ros.evaluation.metrics import ConfusionMatrix, Scores
from camss_ros.images.label_class import VOID, LabelClass
from camss_ros.images.label_mapping import mapping_onto_labels
from camss_ros.images.label_sets import LabelSet, NoMappingError
from camss_ros.inference.segmenter import Segmentation


class LabeledFrames(Protocol):
    """What is evaluated: (image uint8 [H, W, 3], label uint8 [H, W], name) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray, str]: ...


class EveryNth:
    """Every n-th of some frames."""

    def __init__(self, frames: LabeledFrames, every: int) -> None:
        self._frames, self._indices = frames, range(0, len(frames), every)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        return self._frames[self._indices[index]]


class FrameSegmenter(Protocol):
    """The part of `Segmenter` that an evaluation uses."""

    @property
    def classes(self) -> Sequence[LabelClass]: ...

    def segment(self, image: np.ndarray, /) -> Segmentation: ...


@dataclass(frozen=True)
class Evaluation:
    """Result over all frames.

    Attributes:
        scores: from the confusion matrix.
        boundary: of the pixels near the classes' contours.
        reliability: of the confidence.
        flicker: share of the steady pixels whose label changes; None unless the frames are a clip.
        frames: their number.
        seconds_per_frame: mean time of one.
    """

    scores: Scores
    boundary: BoundaryScores
    reliability: Reliability
    flicker: float | None
    frames: int
    seconds_per_frame: float


def class_table(model: Sequence[LabelClass], data: LabelSet) -> np.ndarray:
    """uint8 [256]: the data set's class id, or 255, for each class id of the model.

    Classes correspond by name, or by the mapping of the model's label set onto the data's. Raises
    ValueError that names the classes on one side only.
    """
    own = [label_class for label_class in model if label_class.id != VOID]
    try:
        return mapping_onto_labels(own, data).apply(np.arange(256, dtype=np.uint8))
    except NoMappingError as error:
        names, known = ({each.name for each in one} for one in (data.classes, own))
        missing = ", ".join(sorted(names - known)) or "none"
        extra = ", ".join(sorted(known - names)) or "none"
        raise ValueError(
            f"the model does not know the classes of {data.name}: missing in the model: {missing}; "
            f"only in the model: {extra}; map the data's labels onto the model's label set"
        ) from error


def evaluate(
    segmenter: FrameSegmenter,
    frames: LabeledFrames,
    label_set: LabelSet,
    *,
    clip: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    on_frame: Callable[[str, np.ndarray, np.ndarray, Segmentation], None] | None = None,
) -> Evaluation:
    """Segments every frame and compares it with its label.

    `clip`: the frames follow each other in time, so that their flicker means something. `progress`
    is called with the number of frames done, `on_frame` with name, image, label and result of each.
    Raises ValueError where model and data have different
    classes, and where the frames of a clip differ in size.
    """
    table = class_table(segmenter.classes, label_set)
    classes = len(label_set.classes)
    matrix, boundary = ConfusionMatrix(classes), BoundaryIoU(classes)
    calibration = Calibration(classes)
    flicker = Flicker(classes) if clip else None
    seconds = 0.0
    for index in range(len(frames)):
        image, label, name = frames[index]
        result = segmenter.segment(image)
        seconds += result.timings["total"]
        predicted = table[result.labels]
        matrix.add(label, predicted)
        boundary.add(label, predicted)
        calibration.add(label, predicted, result.confidence)
        if flicker is not None:
            flicker.add(label, predicted)
        if on_frame is not None:
            on_frame(name, image, label, result)
        progress(index + 1)
    return Evaluation(
        matrix.scores(),
        boundary.scores(),
        calibration.reliability(),
        None if flicker is None else flicker.rate(),
        len(frames),
        seconds / max(len(frames), 1),
    )


def scores_report(scores: Scores, label_set: LabelSet) -> dict[str, Any]:
    """The scores as JSON values: 0 to 1, null where a class does not occur."""
    return {
        "miou": _number(scores.miou),
        "per_class_iou": _by_class(scores.per_class_iou, label_set),
        "precision_void_excluded": _number(scores.precision_void_excluded),
        "per_class_precision": _by_class(scores.per_class_precision, label_set),
        "per_class_recall": _by_class(scores.per_class_recall, label_set),
        "per_class_f1": _by_class(scores.per_class_f1, label_set),
        "mean_precision": _number(scores.mean_precision),
        "mean_recall": _number(scores.mean_recall),
        "mean_f1": _number(scores.mean_f1),
        "frequency_weighted_iou": _number(scores.frequency_weighted_iou),
        "pixel_accuracy": _number(scores.pixel_accuracy),
    }


def evaluation_report(evaluation: Evaluation, label_set: LabelSet) -> dict[str, Any]:
    """Everything measured as JSON values: 0 to 1, null where there is nothing to measure."""
    curve = evaluation.reliability
    return {
        **scores_report(evaluation.scores, label_set),
        "boundary_iou": _number(evaluation.boundary.mean),
        "per_class_boundary_iou": _by_class(evaluation.boundary.per_class, label_set),
        "boundary_dilation_ratio": DILATION_RATIO,
        "expected_calibration_error": _number(curve.expected_calibration_error),
        "reliability": {
            "pixels": curve.pixels.tolist(),
            "confidence": list(map(_number, curve.confidence.tolist())),
            "accuracy": list(map(_number, curve.accuracy.tolist())),
        },
        "flicker": None if evaluation.flicker is None else _number(evaluation.flicker),
        "frames": evaluation.frames,
        "seconds_per_frame": evaluation.seconds_per_frame,
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
        **evaluation_report(evaluation, label_set),
        "data": {**data, "label_set": label_set.name},
        "model": model,
        "sampling": sampling,
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
    columns = {
        "IoU": (scores.per_class_iou, scores.miou),
        "boundary IoU": (evaluation.boundary.per_class, evaluation.boundary.mean),
        "precision": (scores.per_class_precision, scores.mean_precision),
        "recall": (scores.per_class_recall, scores.mean_recall),
        "F1": (scores.per_class_f1, scores.mean_f1),
    }
    for column in columns:
        table.add_column(column, justify="right")
    for label_class in label_set.classes:
        values = (per_class[label_class.id] for per_class, _ in columns.values())
        table.add_row(label_class.name, *map(_percent, values))
    table.add_section()
    table.add_row("mean", *(_percent(mean) for _, mean in columns.values()))
    table.add_section()
    table.add_row("precision_void_excluded", _percent(scores.precision_void_excluded))
    table.add_row("pixel accuracy", _percent(scores.pixel_accuracy))
    table.add_row("frequency-weighted IoU", _percent(scores.frequency_weighted_iou))
    ece = evaluation.reliability.expected_calibration_error
    table.add_row("expected calibration error", _percent(ece))
    if evaluation.flicker is not None:
        table.add_row("flicker", _percent(evaluation.flicker))
    return table


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _by_class(values: np.ndarray, label_set: LabelSet) -> dict[str, float | None]:
    pairs = zip(label_set.classes, values.tolist(), strict=True)
    return {label_class.name: _number(value) for label_class, value in pairs}
