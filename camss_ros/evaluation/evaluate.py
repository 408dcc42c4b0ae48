"""Scores of a model on a labelled data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.boundary import DILATION_RATIO
from camss_ros.evaluation.metrics import Scores, confusion_scores, json_number
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
class EvaluatedFrame:
    """A frame with its prediction and scores.

    Attributes:
        name: of the frame.
        image: uint8 [H, W, 3].
        label: uint8 [H, W], the truth.
        predicted: uint8 [H, W], the result's labels as class ids of the data set.
        result: of the segmenter.
        scores: of this frame alone.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    result: Segmentation
    scores: Scores


@dataclass(frozen=True)
class Evaluation:
    """Result over all frames.

    Attributes:
        accumulator: of all scores; without flicker unless the frames are a clip.
        seconds_per_frame: mean time of one.
    """

    accumulator: ScoreAccumulator
    seconds_per_frame: float

    @property
    def scores(self) -> Scores:
        return self.accumulator.scores()

    @property
    def frames(self) -> int:
        return self.accumulator.frames


def class_table(model: Sequence[LabelClass], data: LabelSet) -> np.ndarray:
    """uint8 [256]: the data set's class id, or 255, for each class id of the model.

    Classes correspond by name, or by the mapping of the model's label set onto the data's. Raises
    ValueError that names the classes on one side only.
    """
    classes = [label_class for label_class in model if label_class.id != VOID]
    try:
        return mapping_onto_labels(classes, data).apply(np.arange(256, dtype=np.uint8))
    except NoMappingError as error:
        names = {label_class.name for label_class in data.classes}
        known = {label_class.name for label_class in classes}
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
    on_frame: Callable[[EvaluatedFrame], None] | None = None,
) -> Evaluation:
    """Segments every frame and compares it with its label.

    Args:
        clip: the frames follow each other in time, so that their flicker means something.
        progress: called with the number of frames done.
        on_frame: called with each of them.

    Raises:
        ValueError: model and data have different classes, or the frames of a clip differ in size.
    """
    table = class_table(segmenter.classes, label_set)
    accumulator = ScoreAccumulator(len(label_set.classes), boundary=True)
    size: tuple[int, ...] | None = None
    seconds = 0.0
    for index in range(len(frames)):
        image, label, name = frames[index]
        if not clip:
            accumulator.end_sequence()
        elif label.shape != (size := size or label.shape):
            raise ValueError(
                f"a frame of the clip is {label.shape}, the one before {size}: expected frames of "
                "one size"
            )
        result = segmenter.segment(image)
        seconds += result.timings["total"]
        predicted = table[result.labels]
        confusion = accumulator.add(label, predicted, result.confidence)
        if on_frame is not None:
            scores = confusion_scores(confusion)
            on_frame(EvaluatedFrame(name, image, label, predicted, result, scores))
        progress(index + 1)
    return Evaluation(accumulator, seconds / max(len(frames), 1))


def evaluation_report(evaluation: Evaluation, label_set: LabelSet) -> dict[str, Any]:
    """Everything measured as JSON values: 0 to 1, null where there is nothing to measure."""
    curve = evaluation.accumulator.reliability()
    return {
        **evaluation.accumulator.report(label_set.classes),
        "boundary_dilation_ratio": DILATION_RATIO,
        "reliability": {
            "pixels": curve.pixels.tolist(),
            "confidence": list(map(json_number, curve.confidence.tolist())),
            "accuracy": list(map(json_number, curve.accuracy.tolist())),
        },
        "frames": evaluation.frames,
        "seconds_per_frame": evaluation.seconds_per_frame,
    }
