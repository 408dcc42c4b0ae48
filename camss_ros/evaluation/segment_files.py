"""Segment a whole input to files: label images, overlays and a summary.

    output/masks/NAME.png      class ids, 8 bit, one channel
    output/overlays/NAME.jpg   the frame under the colours of its classes
    output/overlay.mp4         the overlays of a video
    output/summary.json        settings, timings, class shares, scores where labels exist

A run that was stopped goes on where it was: a mask is written last and under a temporary name
first, so that a mask that exists is a frame that is done.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from camss_ros.atomic_files import locked
from camss_ros.evaluation.evaluate import FrameSegmenter
from camss_ros.evaluation.pipeline import stage
from camss_ros.evaluation.result_folder import begin_results, finish_results, read_mask, write_image
from camss_ros.evaluation.statistics import FrameStatistics
from camss_ros.images.drawing import overlay
from camss_ros.images.frames import Frame, FrameSource, UnreadableInputError
from camss_ros.images.label_mapping import mapping_onto_labels
from camss_ros.images.video_writer import VideoWriter

SUMMARY_FILE = "summary.json"


class _SegmentedFrame(NamedTuple):
    """A frame with its labels, uint8 [H, W], and the seconds of each stage; None where they are of
    an earlier run."""

    frame: Frame
    labels: np.ndarray
    timings: dict[str, float] | None


def segment_files(
    segmenter: FrameSegmenter,
    source: FrameSource,
    output: Path,
    settings: dict[str, Any],
    limit: int | None = None,
    on_frame: Callable[[], None] = lambda: None,
    at_a_time: int = 1,
) -> dict[str, Any]:
    """Segment the first `limit` frames of `source` (all for None) into `output`, made if missing.

    While the network works on frames, the next one is read and the last one drawn and written.

    Args:
        limit: None needs a source that has an end.
        settings: what the results depend on, JSON-able; kept in the summary.
        on_frame: called after each frame.
        at_a_time: frames that the segmenter works on at the same time; see `SegmenterGroup`.

    Returns:
        The summary.

    Raises:
        OutputMismatchError: `output` holds results of other settings.
        UnreadableInputError: not one frame can be read.
        DataError: a label file is bad.
        OSError: `output` can't be written, or another process does.
    """
    comparable = mapping_onto_labels(segmenter.classes, segmenter.model_name, source.label_set)
    statistics = FrameStatistics(comparable.classes)
    reused = 0
    # Images of a folder need not follow each other in time: no video of them.
    is_clip = source.is_video or source.endless
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(output))
        begin_results(output / SUMMARY_FILE, settings, ("masks", "overlays"))
        writer = VideoWriter(output / "overlay.mp4", source.fps) if is_clip else None
        video = stack.enter_context(writer or contextlib.nullcontext())

        def segment(frame: Frame) -> _SegmentedFrame:
            mask = output / "masks" / f"{frame.name}.png"
            labels = read_mask(mask, frame.image.shape[:2])
            if labels is not None:
                return _SegmentedFrame(frame, labels, None)
            result = segmenter.segment(frame.image)
            return _SegmentedFrame(frame, result.labels, result.timings)

        def write(done: _SegmentedFrame) -> _SegmentedFrame:
            frame, labels, timings = done
            picture = overlay(frame.image, labels, segmenter.classes)
            if timings is not None:
                write_image(output / "overlays" / f"{frame.name}.jpg", picture)
                write_image(output / "masks" / f"{frame.name}.png", labels)
            if video is not None:
                video.write(picture, frame.time)
            return done

        frames = itertools.islice(source, limit)
        predicted = stage(segment, frames, at_a_time)
        # closed before the video: whatever happens, nothing is written to it any more
        written = stack.enter_context(contextlib.closing(stage(write, predicted)))
        for frame, labels, timings in written:
            if timings is None:
                reused += 1
            else:
                statistics.add_timings(timings)
            statistics.add_labels(comparable.apply(labels), frame.label)
            on_frame()
    if statistics.frames == 0:
        raise UnreadableInputError("no frame of the input could be read")
    summary = {
        "frames": statistics.frames,
        "frames_from_an_earlier_run": reused,
        "skipped_files": [str(path) for path in source.skipped],
        "missing_frames": source.missing,
        "damage": list(source.damage),
        "label_set": source.label_set.name if source.label_set else None,
        **statistics.report(),
    }
    return finish_results(output / SUMMARY_FILE, settings, summary)
