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
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camss_ros.data.drawing import overlay
from camss_ros.data.frames import Frame, FrameSource, UnreadableInputError
from camss_ros.data.video_writer import VideoWriter
from camss_ros.evaluation.statistics import FrameStatistics
from camss_ros.inference.segmenter import Segmenter

SUMMARY_FILE = "summary.json"


class OutputMismatchError(ValueError):
    """The output folder holds the results of other settings."""


def segment_files(
    segmenter: Segmenter,
    source: FrameSource,
    output: Path,
    settings: dict[str, Any],
    limit: int | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Segment the first `limit` frames of `source` (all for None) into `output`, made if missing.

    `settings`: what the results depend on, JSON-able; kept in the summary. `on_frame` is called
    after each frame. Returns the summary.

    Raises OutputMismatchError where `output` holds results of other settings, UnreadableInputError
    where not one frame can be read, ValueError for a source without end and no `limit`, OSError
    where `output` can't be written.
    """
    if source.endless and limit is None:
        raise ValueError("this input has no end: say how many frames are wanted")
    resumed = _start(output, settings)
    statistics = FrameStatistics(segmenter.classes, source.label_set)
    reused = 0
    # Images of a folder need not follow each other in time: no video of them.
    is_clip = source.is_video or source.endless
    with contextlib.ExitStack() as stack:
        video = (
            stack.enter_context(VideoWriter(output / "overlay.mp4", source.fps))
            if is_clip
            else None
        )
        for frame in itertools.islice(source, limit):
            labels = _read_mask(output, frame) if resumed else None
            if labels is not None:
                reused += 1
            else:
                result = segmenter.segment(frame.image)
                labels = result.labels
                picture = overlay(frame.image, labels, segmenter.classes)
                _write_image(output / "overlays" / f"{frame.name}.jpg", picture)
                _write_image(output / "masks" / f"{frame.name}.png", labels)
                statistics.add_timings(result.timings)
            statistics.add_labels(labels, frame.label)
            if video is not None:
                video.write(overlay(frame.image, labels, segmenter.classes))
            on_frame()
    if statistics.frames == 0:
        raise UnreadableInputError("no frame of the input could be read")
    summary = {
        "complete": True,
        "settings": settings,
        "frames": statistics.frames,
        "frames_from_an_earlier_run": reused,
        "skipped_files": [str(path) for path in source.skipped],
        **statistics.report(),
    }
    _write_atomically(output / SUMMARY_FILE, _to_json(summary))
    return summary


def _start(output: Path, settings: dict[str, Any]) -> bool:
    """Make the folders and note the settings; true where an earlier run with them is there."""
    for folder in (output / "masks", output / "overlays"):
        folder.mkdir(parents=True, exist_ok=True)
    path = output / SUMMARY_FILE
    if path.exists():
        try:
            found = json.loads(path.read_text())["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise OutputMismatchError(
                f"'{path}' is not a summary of this command: choose another output folder"
            ) from error
        wanted = json.loads(json.dumps(settings))
        if found != wanted:
            names = sorted(set(found) | set(wanted))
            changes = [
                f"{name} {found.get(name)!r} there, {wanted.get(name)!r} now"
                for name in names
                if found.get(name) != wanted.get(name)
            ]
            raise OutputMismatchError(
                f"'{output}' holds the results of other settings ({'; '.join(changes)}): choose "
                "another output folder or delete this one"
            )
        return True
    _write_atomically(path, _to_json({"complete": False, "settings": settings}))
    return False


def _read_mask(output: Path, frame: Frame) -> np.ndarray | None:
    path = output / "masks" / f"{frame.name}.png"
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None
    if labels is None or labels.shape != frame.image.shape[:2] or labels.dtype != np.uint8:
        return None
    return labels


def _write_image(path: Path, image: np.ndarray) -> None:
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(path.suffix, image)
    if not ok:
        raise OSError(f"OpenCV can't encode '{path}'")
    _write_atomically(path, data.tobytes())


def _write_atomically(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def _to_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
