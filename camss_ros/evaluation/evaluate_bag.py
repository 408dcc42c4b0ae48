"""Evaluates the images of a bag: masks, an overlay video and scores.

    output/masks/NAME.png       class ids, 8 bit, one channel; NAME is number and stamp of the image
    output/confidence/NAME.png  probability of the class times 255
    output/overlay.mp4          the frames under the colours of their classes
    output/frames.jsonl         one line a frame: name, stamps, scores
    output/strips/              pictures of the worst and the best frames
    output/metrics.json         settings, counts, class shares, scores, what was passed over
    output/timings.jsonl        time of each stage of every frame

A run that was stopped goes on where it was, and ends with the same files, but for the timings and
the bytes of the video: a mask that exists is a frame that is done.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.atomic_files import locked, replacing
from camss_ros.bags.bag import Bag, BagError, Topic
from camss_ros.bags.bag_frames import BagFrame, BagFrames, BagSelection
from camss_ros.bags.bag_types import LABEL_INFO, beside
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.bag_points import PointSources, open_points
from camss_ros.evaluation.evaluate import FrameSegmenter, class_table
from camss_ros.evaluation.frame_thumbnails import FrameThumbnails
from camss_ros.evaluation.mask_folder import FOLDERS, MaskFolder, Prediction
from camss_ros.evaluation.metrics import confusion_scores, json_number
from camss_ros.evaluation.pipeline import stage
from camss_ros.evaluation.point_scores import PointScorer
from camss_ros.evaluation.result_folder import begin_results, finish_results
from camss_ros.evaluation.timings import TimingsFile
from camss_ros.images.drawing import overlay
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet
from camss_ros.images.message_fields import class_names
from camss_ros.images.video_writer import VideoWriter
from camss_ros.inference.segmenter import Segmentation

METRICS_FILE = "metrics.json"
FRAMES_FILE = "frames.jsonl"
TIMINGS_FILE = "timings.jsonl"
THUMBNAILS = "strips"

PredictedFrame = tuple[BagFrame, Prediction | None]


class RunProgress:
    """Called as a run goes on; does nothing itself."""

    def camera(self, topic: str) -> None:
        """From now on it is about the next camera."""

    def reading(self) -> None:
        """One more message was looked at."""

    def expecting(self, frames: int) -> None:
        """So many frames will be segmented, at most."""

    def segmented(self) -> None:
        """One more frame is done."""

    def writing(self) -> None:
        """One more message was written."""


def evaluate_bag(
    segmenter: FrameSegmenter,
    bag: Bag,
    output: Path,
    selection: BagSelection,
    settings: dict[str, Any],
    progress: RunProgress,
    label_set: LabelSet | None = None,
    only: Container[int] | None = None,
    points: PointSources | None = None,
    at_a_time: int = 1,
) -> Callable[[int], Path]:
    """Segment the selected frames of `bag` into `output`, made if missing, and score them.

    Reading, the network, writing, drawing and scoring go on at the same time, each with another
    frame.

    Args:
        settings: what the results depend on besides, JSON-able; kept in metrics.json.
        label_set: of the label images; None: they are numbered as the model's classes, with 255
            for void.
        only: stamps, in ns; frames with others are left out.
        points: of the bag, to be scored too.
        at_a_time: frames that the segmenter works on at the same time; see `SegmenterGroup`.

    Returns:
        The mask file of an image message, by its number within the span; it need not exist.

    Raises:
        BagError: a topic is missing, or not one frame can be read.
        OutputMismatchError: `output` holds results of other settings.
        ValueError: model and label set have different classes.
        OSError: `output` can't be written, or another process does.
    """
    points = points or {}
    partners = [topic for topic, _ in points.values()]
    model = segmenter.model_name
    frames = open_bag_frames(
        bag, selection, segmenter.classes, model, label_set, progress, partners
    )
    scored = label_set.classes if label_set else segmenter.classes
    scorers = open_points(frames, points, scored)
    kept = MaskFolder(output)
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(output))
        begin_results(output / METRICS_FILE, settings, FOLDERS)
        timings = stack.enter_context(contextlib.closing(TimingsFile(output / TIMINGS_FILE)))

        def predict(frame: BagFrame) -> tuple[PredictedFrame, Segmentation | None]:
            if only is not None and frame.stamp not in only:
                return (frame, None), None
            found = kept.read(frame.name, frame.image.shape[:2])
            if found is not None:
                return (frame, found), None
            result = segmenter.segment(frame.image)
            return (frame, Prediction(result.labels, result.confidence)), result

        def keep(predicted: tuple[PredictedFrame, Segmentation | None]) -> PredictedFrame:
            (frame, found), result = predicted
            if found is not None and result is not None:
                timings.add(frame.name, result.timings)
                kept.write(frame.name, found)
            return frame, found

        metrics = score_frames(
            frames, stage(keep, stage(predict, frames, at_a_time)), segmenter.classes, model,
            label_set, output, progress.segmented, scorers,
        )  # fmt: skip
    if not metrics["frames"]:
        raise BagError(f"'{bag.path}': not one image on {selection.image} has one of the stamps")
    finish_results(output / METRICS_FILE, settings, metrics)
    return lambda number: kept.mask(frames.name(number))


def read_stamps_of(path: Path) -> frozenset[int]:
    """The stamps, in ns, of the frames that a frames.jsonl lists.

    Raises:
        OSError: it can't be read.
        ValueError: it is no such file.
    """
    stamps = set()
    with path.open() as lines:
        for number, line in enumerate(lines, 1):
            try:
                stamps.add(int(json.loads(line)["stamp"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"'{path}', line {number}: expected a {FRAMES_FILE} as evaluate-bag and replay "
                    'leave it, an object with "stamp" a line'
                ) from error
    return frozenset(stamps)


def open_bag_frames(
    bag: Bag,
    selection: BagSelection,
    classes: Sequence[LabelClass],
    model: str,
    label_set: LabelSet | None,
    progress: RunProgress,
    partners: Sequence[Topic] = (),
) -> BagFrames:
    """The selected frames, after a look at every stamp.

    Args:
        classes, model: the model's, and its name.
        label_set: of the labels; None: they are numbered as `classes`.
        partners: further topics whose messages belong to the frames.

    Raises:
        BagError, ValueError: as of `evaluate_bag`.
    """
    values = label_values(bag, selection.labels, classes, label_set)
    if label_set is not None:
        class_table(classes, model, label_set)
    frames = BagFrames(bag, selection, values, progress.reading, partners)
    if not frames.expected:
        where = "in that span" if selection.start or selection.duration is not None else "at all"
        text = f"'{bag.path}': topic {selection.image} has no message {where}"
        raise BagError("\n  ".join([text, *bag.warnings]))
    progress.expecting(frames.expected)
    return frames


def label_values(
    bag: Bag, labels: str | None, classes: Sequence[LabelClass], label_set: LabelSet | None
) -> np.ndarray:
    """What the values on a topic of label images mean, as `BagFrames` takes it.

    Args:
        labels: the topic, if there is one.
        classes: the model's.
        label_set: of the labels; None: they are numbered as `classes`.

    Where the LabelInfo beside the topic has other classes than `label_set`, `bag.warnings` says so:
    it may be the one that is wrong.

    Raises:
        BagError: it has others than the model, and there is no `label_set`.
    """
    expected = classes if label_set is None else label_set.classes
    other = _other_classes(bag, labels, expected) if labels is not None else ""
    if label_set is not None:
        if other:
            bag.warn(f"{other}, other classes than those of label set {label_set.name}")
        return label_set.from_file_values()
    if other:
        raise BagError(f"'{bag.path}': {other}, other classes than the model's: give --label-set")
    return LabelSet("the model's", tuple(classes)).from_file_values()


def _other_classes(bag: Bag, labels: str, classes: Sequence[LabelClass]) -> str:
    """Which classes the LabelInfo beside a topic of labels has, if others; else empty."""
    topic = beside(labels, "label_info")
    named = None
    with contextlib.suppress(BagError):  # a topic that can't be read names no classes
        for message in itertools.islice(bag.messages([Topic(topic, LABEL_INFO, 0)]), 1):
            named = class_names(bag.decode(message))
    if named is None or named == {c.id: c.name for c in classes}:
        return ""
    return f"by {topic} the labels on {labels} are of {', '.join(named.values())}"


def score_frames(
    frames: BagFrames,
    predictions: Iterable[PredictedFrame],
    classes: Sequence[LabelClass],
    model: str,
    label_set: LabelSet | None,
    output: Path,
    on_frame: Callable[[], None] = lambda: None,
    points: Mapping[str, PointScorer] | None = None,
) -> dict[str, Any]:
    """Compare the predictions of the frames with their labels; returns what metrics.json says.

    Writes the overlay video, frames.jsonl and the thumbnails to `output`.

    Args:
        predictions: of the frames, in their order; None for one that is left out.
        classes, model: the model's, and its name.
        points: what counts the points of each kind.

    Raises:
        BagError: nothing can be read.
        OSError: `output` can't be written.
    """
    bag = frames.bag
    if label_set is None:
        label_set = LabelSet("the model's", tuple(classes))
    table = class_table(classes, model, label_set)
    accumulator = ScoreAccumulator(len(label_set.classes), boundary=True)
    thumbnails = FrameThumbnails(label_set.classes)
    count = read = following = 0
    with (
        replacing(output / FRAMES_FILE) as lines,
        VideoWriter(output / "overlay.mp4", frames.fps) as video,
        lines.open("w") as listing,
        contextlib.ExitStack() as exits,
    ):

        def draw(predicted: PredictedFrame) -> PredictedFrame:
            frame, found = predicted
            if found is not None:
                video.write(overlay(frame.image, found.labels, classes))
            return predicted

        # closed before the video: whatever happens, nothing is written to it any more
        drawn = exits.enter_context(contextlib.closing(stage(draw, predictions)))
        try:
            for frame, found in drawn:
                read += 1
                if found is None or frame.number != following:  # one before it was passed over
                    accumulator.end_sequence()
                following = frame.number + frames.selection.every
                if found is None:
                    continue
                count += 1
                labels = table[found.labels]
                line: dict[str, Any] = {
                    "name": frame.name,
                    "stamp": frame.stamp,
                    "label_stamp": frame.label_stamp,
                    "miou": None,
                    "pixel_accuracy": None,
                    "confidence": float(found.confidence.mean()) / 255,
                }
                if frame.label is None:
                    accumulator.add_unlabelled(labels)
                else:
                    confusion = accumulator.add(frame.label, labels, found.confidence)
                    scores = confusion_scores(confusion)
                    line["miou"] = json_number(scores.miou)
                    line["pixel_accuracy"] = json_number(scores.pixel_accuracy)
                for scorer in (points or {}).values():
                    scorer.add(frame, labels)
                score = line["miou"] if frames.labelled else line["confidence"]
                if score is not None:
                    thumbnails.add(
                        frame.name, score, frame.image, frame.label, labels, found.confidence
                    )
                listing.write(json.dumps(line) + "\n")
                on_frame()
        except BagError as error:  # found only while reading; the results so far are kept
            bag.warnings.append(str(error))
        if read == 0:
            raise BagError(_nothing_read(frames))
    thumbnails.save(output / THUMBNAILS)
    pixels = accumulator.predicted_pixels
    return {
        "frames": count,
        "labelled_frames": accumulator.frames,
        "passed_over": {
            "frames": frames.expected - read,
            "by_reason": dict(sorted(frames.faults.counts.items())),
            "first": frames.faults.listed,
        },
        "labels_without_image": frames.labels_without_image,
        "warnings": bag.warnings,
        "classes": [{"name": c.name, "color": list(c.color)} for c in label_set.classes],
        "class_pixels": [int(pixels[c.id]) for c in label_set.classes],
        "pixels": max(1, int(pixels.sum())),
        "class_share": accumulator.class_share(label_set.classes),
        "scores": accumulator.report(label_set.classes) if accumulator.frames else None,
        "counts": accumulator.counts(),
        "points": {kind: scorer.results() for kind, scorer in (points or {}).items()},
    }


def _nothing_read(frames: BagFrames) -> str:
    what = f"not one of the {frames.expected} images on {frames.selection.image} can be read"
    reasons = frames.faults.listed[:3] or frames.bag.warnings
    return "\n  ".join([f"'{frames.bag.path}': {what}", *reasons])
