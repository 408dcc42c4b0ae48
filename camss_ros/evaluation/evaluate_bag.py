"""A bag in, masks, an overlay video and scores out.

    output/masks/NAME.png    class ids, 8 bit, one channel; NAME is number and stamp of the image
    output/overlay.mp4       the frames under the colours of their classes
    output/frames.jsonl      one line a frame: name, stamps, scores
    output/metrics.json      settings, counts, class shares, scores, what was passed over
    output/timings.json      time of each stage, of the frames segmented by the last run

A run that was stopped goes on where it was, and ends with the same files, but for the timings and
the bytes of the video: a mask that exists is a frame that is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from camss_ros.data.bag import Bag, BagError
from camss_ros.data.drawing import overlay
from camss_ros.data.label_sets import LabelSet
from camss_ros.data.video_writer import VideoWriter
from camss_ros.evaluation.bag_frames import (
    BagFrame,
    BagFrames,
    BagSelection,
    model_label_values,
)
from camss_ros.evaluation.evaluate import FrameSegmenter, class_table, scores_report
from camss_ros.evaluation.metrics import ConfusionMatrix
from camss_ros.evaluation.result_folder import (
    begin_results,
    finish_results,
    read_mask,
    write_image,
    write_json,
)
from camss_ros.evaluation.statistics import FrameStatistics

METRICS_FILE = "metrics.json"
FRAMES_FILE = "frames.jsonl"


class Progress(Protocol):
    """Is told how far a run is."""

    def reading(self) -> None:
        """One more message was looked at."""

    def expecting(self, frames: int) -> None:
        """So many frames will be segmented, at most."""

    def segmented(self) -> None:
        """One more frame is done."""


@dataclass(frozen=True)
class BagEvaluation:
    """`metrics`: what metrics.json says. `mask_of`: the mask file of an image message, by its
    number within the span; it need not exist."""

    metrics: dict[str, Any]
    mask_of: Callable[[int], Path]


def evaluate_bag(
    segmenter: FrameSegmenter,
    bag: Bag,
    output: Path,
    selection: BagSelection,
    settings: dict[str, Any],
    progress: Progress,
    label_set: LabelSet | None = None,
) -> BagEvaluation:
    """Segment the selected frames of `bag` into `output`, made if missing, and score them.

    `settings`: what the results depend on besides, JSON-able; kept in metrics.json. `label_set`: of
    the label images; None: they are numbered as the model's classes, with 255 for void.

    Raises BagError where a topic is missing or not one frame can be read, OutputMismatchError where
    `output` holds results of other settings, ValueError where model and label set have different
    classes, OSError where `output` can't be written.
    """
    if label_set is None:
        label_set = LabelSet("the model's", tuple(segmenter.classes))
        values = model_label_values(len(segmenter.classes))
    else:
        values = label_set.from_file_values()
    table = class_table(segmenter.classes, label_set)
    frames = BagFrames(bag, selection, values, progress.reading)
    progress.expecting(frames.expected)
    begin_results(output / METRICS_FILE, settings, ("masks",))
    statistics = FrameStatistics(segmenter.classes)
    matrix = ConfusionMatrix(len(label_set.classes))
    labelled = timed = 0

    def labels_of(frame: BagFrame) -> np.ndarray:
        nonlocal timed
        path = output / "masks" / f"{frame.name}.png"
        labels = read_mask(path, frame.image.shape[:2])
        if labels is None:
            result = segmenter.segment(frame.image)
            labels = result.labels
            statistics.add_timings(result.timings)
            timed += 1
            write_image(path, labels)
        return labels

    lines = output / f".{FRAMES_FILE}.partial"
    with VideoWriter(output / "overlay.mp4", frames.fps) as video, lines.open("w") as listing:
        try:
            for frame in frames:
                labels = labels_of(frame)
                statistics.add_labels(labels, None)
                video.write(overlay(frame.image, labels, segmenter.classes))
                scores = None
                if frame.label is not None:
                    of_frame = ConfusionMatrix(len(label_set.classes))
                    of_frame.add(frame.label, table[labels])
                    matrix.counts += of_frame.counts
                    labelled += 1
                    scores = scores_report(of_frame.scores(), label_set)
                listing.write(_line(frame, scores))
                progress.segmented()
        except BagError as error:  # came up now only; what was segmented stays
            bag.warnings.append(str(error))
    if statistics.frames == 0:
        raise BagError(_nothing_read(bag, frames, selection))
    lines.replace(output / FRAMES_FILE)
    summed = statistics.report()
    metrics = {
        "frames": statistics.frames,
        "labelled_frames": labelled,
        "passed_over": {
            "frames": frames.expected - statistics.frames,
            "by_reason": dict(sorted(frames.faults.counts.items())),
            "first": frames.faults.listed,
        },
        "labels_without_image": frames.labels_without_image,
        "warnings": bag.warnings,
        "class_share": summed["class_share"],
        "scores": scores_report(matrix.scores(), label_set) if labelled else None,
    }
    write_json(output / "timings.json", {"frames": timed, "stages_ms": summed["stages_ms"]})
    return BagEvaluation(
        finish_results(output / METRICS_FILE, settings, metrics),
        lambda number: output / "masks" / f"{frames.name(number)}.png",
    )


def _line(frame: BagFrame, scores: dict[str, Any] | None) -> str:
    content = {
        "name": frame.name,
        "stamp": frame.stamp,
        "label_stamp": frame.label_stamp,
        "miou": scores and scores["miou"],
        "pixel_accuracy": scores and scores["pixel_accuracy"],
    }
    return json.dumps(content) + "\n"


def _nothing_read(bag: Bag, frames: BagFrames, selection: BagSelection) -> str:
    if not frames.expected:
        where = "in that span" if selection.start or selection.duration is not None else "at all"
        reasons = bag.warnings
        what = f"topic {selection.image} has no message {where}"
    else:
        reasons = frames.faults.listed[:3] or bag.warnings
        what = f"not one of the {frames.expected} images on {selection.image} can be read"
    return f"'{bag.path}': {what}" + "".join(f"\n  {reason}" for reason in reasons)
