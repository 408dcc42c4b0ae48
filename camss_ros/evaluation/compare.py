"""Two models on the same labelled frames: what the page of a comparison says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from camss_ros.evaluation.conditions import Conditions
from camss_ros.evaluation.evaluate import EvaluatedFrame, FrameScorer, FrameSegmenter
from camss_ros.evaluation.frame_thumbnails import (
    FrameThumbnails,
    Thumbnails,
    colored_tile,
    image_tile,
)
from camss_ros.evaluation.metrics import json_number
from camss_ros.evaluation.paired import ACCURACY, MIOU, Difference, PairedCounts
from camss_ros.evaluation.statistics import milliseconds
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet

LabelledFrame = tuple[Any, Any, str]
"""Image uint8 [H, W, 3] RGB, label uint8 [H, W] or None, name."""


@dataclass(frozen=True)
class Comparison:
    """Result over all frames.

    Attributes:
        classes: of the labels.
        frames: how many.
        differences: mIoU, pixel accuracy and IoU of each class, by name.
        by_condition: frames and differences by condition and its value.
        flicker, calibration_error: of either model; NaN where it was not measured.
        milliseconds: of a frame, of either model; see `statistics.milliseconds`.
        worse, better: the frames on which the second model loses and gains most, each scored by
            the difference of the frame's mIoU.
    """

    classes: tuple[LabelClass, ...]
    frames: int
    differences: dict[str, Difference]
    by_condition: dict[str, dict[str, tuple[int, dict[str, Difference]]]]
    flicker: list[float]
    calibration_error: list[float]
    milliseconds: list[dict[str, float]]
    worse: list[Thumbnails]
    better: list[Thumbnails]


def compare(
    segmenters: tuple[FrameSegmenter, FrameSegmenter],
    frames: Iterable[LabelledFrame],
    label_set: LabelSet,
    *,
    block: int,
    clip: bool = False,
    conditions: Conditions | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Segment every frame with both models, one after the other.

    Args:
        segmenters: of the two models.
        frames: in their order in time, as far as there is one. One without a label is not scored.
        label_set: of the labels.
        block: frames of a block of the bootstrap; see `PairedCounts.differences`.
        clip: as of `evaluate`.
        conditions: of the frames, by name; frames without are in no group.
        progress: called after each frame.

    Raises ValueError as `evaluate`, and where there is no frame.
    """
    scorers = [FrameScorer(each, label_set, clip=clip) for each in segmenters]
    counts, thumbnails = PairedCounts(), FrameThumbnails(label_set.classes)
    seconds: tuple[list[float], list[float]] = ([], [])
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for image, label, name in frames:
        if label is None:  # the labelled ones before and after it do not follow each other
            for scorer in scorers:
                scorer.accumulator.end_sequence()
            progress()
            continue
        first, second = (scorer.score(image, label, name) for scorer in scorers)
        for condition, value in (conditions or {}).get(name, {}).items():
            groups[condition, value].append(len(counts))
        counts.add(first.confusion, second.confusion)
        for each, result in zip(seconds, (first.result, second.result), strict=True):
            each.append(result.timings["total"])
        change = second.scores.miou - first.scores.miou
        if change == change:  # NaN: nothing is labelled
            thumbnails.keep(name, change, partial(_tiles, first, second, label_set))
        progress()
    if not len(counts):
        raise ValueError("there is not one labelled frame to compare the models on")
    classes = [label_class.name for label_class in label_set.classes]
    by_condition: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for (condition, value), chosen in sorted(groups.items()):
        by_condition[condition][value] = len(chosen), counts.differences(classes, block, chosen)
    kept = [*thumbnails.worst, *reversed(thumbnails.best)]
    of = [scorer.accumulator for scorer in scorers]
    return Comparison(
        label_set.classes,
        len(counts),
        counts.differences(classes, block),
        dict(by_condition),
        [each.flicker() for each in of],
        [each.reliability().expected_calibration_error for each in of],
        [milliseconds(each) for each in seconds],
        [each for each in kept if each.score < 0],
        [each for each in reversed(kept) if each.score > 0],
    )


def comparison_report(comparison: Comparison) -> dict[str, Any]:
    """Everything but the pictures as JSON values."""
    return {
        "frames": comparison.frames,
        "scores": _json(comparison.differences),
        "conditions": {
            condition: {
                value: {"frames": frames, "scores": _json(found)}
                for value, (frames, found) in values.items()
            }
            for condition, values in comparison.by_condition.items()
        },
        "flicker": list(map(json_number, comparison.flicker)),
        "expected_calibration_error": list(map(json_number, comparison.calibration_error)),
        "milliseconds": comparison.milliseconds,
        "worse": {each.name: each.score for each in comparison.worse},
        "better": {each.name: each.score for each in comparison.better},
    }


def _json(found: dict[str, Difference]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            key: json_number(getattr(it, key))
            for key in ("first", "second", "difference", "low", "high")
        }
        for name, it in found.items()
    }


def score_names(classes: Sequence[LabelClass]) -> list[str]:
    """Names of the scores that can be required."""
    return [MIOU, ACCURACY, *(label_class.name for label_class in classes)]


def _tiles(first: EvaluatedFrame, second: EvaluatedFrame, label_set: LabelSet) -> dict[str, bytes]:
    classes = label_set.classes
    return {
        "image.jpg": image_tile(first.image),
        "label.png": colored_tile(first.label, classes),
        "first.png": colored_tile(first.predicted, classes),
        "second.png": colored_tile(second.predicted, classes),
    }
