"""Scores of a model on a labelled data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch.utils.data import Subset

from camss_ros.datasets.datasets import open_data, told_apart
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.boundary import DILATION_RATIO
from camss_ros.evaluation.metrics import Scores, confusion_scores, json_number
from camss_ros.images.label_class import VOID, LabelClass
from camss_ros.images.label_mapping import label_set_of, mapping_onto_labels
from camss_ros.images.label_sets import LabelSet, NoMappingError
from camss_ros.inference.segmenter import Segmentation

_Named = TypeVar("_Named", bound=Any)


class LabeledFrames(Protocol):
    """What is evaluated: (image uint8 [H, W, 3], label uint8 [H, W], name) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray, str]: ...


def every_nth(frames: LabeledFrames, every: int) -> LabeledFrames:
    """Every n-th of some frames."""
    return Subset(frames, range(0, len(frames), every))  # type: ignore[arg-type]


@dataclass(frozen=True)
class LabelledData:
    """Frames to score on.

    Attributes:
        name: which ones they are, for people.
        clip: they follow each other in time.
        files: of the whole split.
    """

    name: str
    frames: LabeledFrames
    label_set: LabelSet
    clip: bool = False
    files: Sequence[Path] = ()


def open_labelled(
    data: str, root: str | Path, split: str, label_set: str | None = None, every: int = 1
) -> LabelledData:
    """Every n-th frame of a split of a data set.

    Args:
        data, root, split: the data set, its folder, and "val" or another split.
        label_set: that labels are mapped onto, a name or a YAML file; None: the data's own.
        every: n, 1 or more.

    Raises:
        DataError, LabelSetError: as of `open_data`.
    """
    images = open_data(data, root, split, label_set)
    name = Path(root).resolve().name if data == "folder" else data
    frames = every_nth(images, every)
    return LabelledData(f"{name} {split}", frames, images.label_set, files=images.files)


def named_apart(data: Sequence[_Named]) -> list[_Named]:
    """The data, dataclasses, whose names are `told_apart`."""
    names = told_apart([each.name for each in data])
    return [replace(each, name=name) for each, name in zip(data, names, strict=True)]


class FrameSegmenter(Protocol):
    """The part of `Segmenter` that an evaluation uses."""

    @property
    def classes(self) -> Sequence[LabelClass]:
        """Of its labels."""

    @property
    def model_name(self) -> str:
        """Of its model."""

    def segment(self, image: np.ndarray, /) -> Segmentation:
        """Segment a frame, uint8 [H, W, 3] RGB."""


@dataclass(frozen=True)
class EvaluatedFrame:
    """A frame with its prediction and scores.

    Attributes:
        name: of the frame.
        image: uint8 [H, W, 3].
        label: uint8 [H, W], the truth.
        predicted: uint8 [H, W], the result's labels as class ids of the data set.
        result: of the segmenter.
        confusion: of this frame alone, as `ScoreAccumulator.confusion`.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    result: Segmentation
    confusion: np.ndarray

    @property
    def scores(self) -> Scores:
        """Of this frame alone."""
        return confusion_scores(self.confusion)


def class_table(classes: Sequence[LabelClass], model: str, data: LabelSet) -> np.ndarray:
    """uint8 [256]: the data set's class id, or 255, for each class id of the model of that name.

    Classes correspond by name, or by the mapping of the model's label set onto the data's. Raises
    ValueError that names the classes on one side only.
    """
    classes = [label_class for label_class in classes if label_class.id != VOID]
    try:
        label_set_of(classes, model).to(data)
    except NoMappingError as error:
        names = {label_class.name for label_class in data.classes}
        known = {label_class.name for label_class in classes}
        missing = ", ".join(sorted(names - known)) or "none"
        extra = ", ".join(sorted(known - names)) or "none"
        raise ValueError(
            f"the model does not know the classes of {data.name}: missing in the model: {missing}; "
            f"only in the model: {extra}; map the data's labels onto the model's label set"
        ) from error
    return mapping_onto_labels(classes, model, data).apply(np.arange(256, dtype=np.uint8))


def evaluate(
    segmenter: FrameSegmenter,
    frames: LabeledFrames,
    label_set: LabelSet,
    *,
    clip: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    on_frame: Callable[[EvaluatedFrame], None] | None = None,
) -> FrameScorer:
    """Segments every frame and compares it with its label.

    Args:
        clip: the frames follow each other in time, so that their flicker means something.
        progress: called with the number of frames done.
        on_frame: called with each of them.

    Returns:
        What has scored all frames.

    Raises:
        ValueError: model and data have different classes, or the frames of a clip differ in size.
    """
    scorer = FrameScorer(segmenter, label_set, clip=clip)
    for index in range(len(frames)):
        frame = scorer.score(*frames[index])
        if on_frame is not None:
            on_frame(frame)
        progress(index + 1)
    return scorer


class FrameScorer:
    """Segments labelled frames, one after the other, and compares each with its label.

    Arguments and errors as of `evaluate`.

    Attributes:
        accumulator: of all scores so far; without flicker unless the frames are a clip.
    """

    def __init__(
        self, segmenter: FrameSegmenter, label_set: LabelSet, *, clip: bool = False
    ) -> None:
        self._segmenter, self._clip = segmenter, clip
        self._table = class_table(segmenter.classes, segmenter.model_name, label_set)
        self.accumulator = ScoreAccumulator(len(label_set.classes), boundary=True)
        self._size: tuple[int, ...] | None = None
        self._seconds = 0.0

    def score(self, image: np.ndarray, label: np.ndarray, name: str) -> EvaluatedFrame:
        """The next frame.

        Args:
            image: uint8 [H, W, 3] RGB.
            label: uint8 [H, W], class ids of the label set, 255 for void.

        Raises:
            ValueError: the frames of a clip differ in size.
        """
        if not self._clip:
            self.accumulator.end_sequence()
        elif label.shape != (self._size or label.shape):
            raise ValueError(
                f"a frame of the clip is {label.shape}, the one before {self._size}: expected "
                "frames of one size"
            )
        self._size = label.shape
        result = self._segmenter.segment(image)
        self._seconds += result.timings["total"]
        predicted = self._table[result.labels]
        own = self.accumulator.add(label, predicted, result.confidence)
        return EvaluatedFrame(name, image, label, predicted, result, own)

    @property
    def scores(self) -> Scores:
        """Over all frames so far."""
        return self.accumulator.scores()

    @property
    def frames(self) -> int:
        """Frames so far."""
        return self.accumulator.frames

    @property
    def seconds_per_frame(self) -> float:
        """Mean time of one."""
        return self._seconds / max(self.frames, 1)


def evaluation_report(evaluation: FrameScorer, label_set: LabelSet) -> dict[str, Any]:
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
