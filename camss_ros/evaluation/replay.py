"""A replay: the masks that a running node returned for a bag's images, as files, and scores.

The player hands over what it sent and what came back; the frames are scored afterwards, from the
files, exactly as those of an offline evaluation are.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.atomic_files import locked
from camss_ros.bags.bag_frames import BagFrame, BagFrames
from camss_ros.bags.recording import Counts
from camss_ros.evaluation.evaluate_bag import (
    METRICS_FILE,
    TIMINGS_FILE,
    PredictedFrame,
    score_frames,
)
from camss_ros.evaluation.mask_folder import FOLDERS, MaskFolder, Prediction
from camss_ros.evaluation.pipeline import stage
from camss_ros.evaluation.result_folder import begin_results, finish_results
from camss_ros.evaluation.timings import TimingsFile
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet


@dataclass
class _SentImage:
    """An image under way: its name, when it was sent, and what has come back so far."""

    name: str
    sent: int
    labels: np.ndarray | None = None
    confidence: np.ndarray | None = None
    kept: bool = False
    timed: bool = False


class ReplayRecorder:
    """Writes the masks of a replay to `output` as they come; times are monotonic, in ns.

    What an earlier replay with the same settings left there is removed by `begin`: a replay
    is a measurement of its own.

    Attributes:
        sent: images published.
        masks: that came back.
        unknown: masks of images that were not sent by this replay.

    Raises:
        OutputMismatchError: there are results of other settings.
        OSError: `output` can't be written.
    """

    def __init__(self, output: Path, frames: BagFrames, settings: dict[str, Any]) -> None:
        begin_results(output / METRICS_FILE, settings, FOLDERS)  # refuses results of others
        self.output, self._frames, self._settings = output, frames, settings
        self.sent = self.masks = self.unknown = 0
        self._kept = MaskFolder(output)
        self._in_flight: dict[int, _SentImage] = {}  # by stamp
        self._timings: TimingsFile
        self._open = ExitStack()

    def begin(self) -> None:
        """Images will be sent. Raises OSError."""
        self._open.enter_context(locked(self.output))
        for folder in FOLDERS:
            shutil.rmtree(self.output / folder, ignore_errors=True)
        for name in (METRICS_FILE, TIMINGS_FILE):
            (self.output / name).unlink(missing_ok=True)
        begin_results(self.output / METRICS_FILE, self._settings, FOLDERS)
        self._timings = self._open.enter_context(closing(TimingsFile(self.output / TIMINGS_FILE)))

    def close(self) -> None:
        """Nothing more comes back; `finish` may follow."""
        self._open.close()

    def knows(self, stamp: int) -> bool:
        """Whether an image with this stamp is under way, so that the two could not be
        distinguished."""
        return stamp in self._in_flight

    def on_sent(self, number: int, stamp: int, now: int) -> None:
        """Image message `number` of the span was published."""
        self._in_flight[stamp] = _SentImage(self._frames.name(number), now)
        self.sent += 1

    # The answers come on topics of their own, in any order.

    def on_mask(self, stamp: int, labels: np.ndarray, now: int) -> None:
        """A mask came, uint8 [H, W]."""
        image = self._in_flight.get(stamp)
        if image is None:
            self.unknown += 1
            return
        self._timings.add(image.name, {"latency": (now - image.sent) / 1e9})
        image.labels = labels
        self._settle(stamp, image)

    def on_confidence(self, stamp: int, confidence: np.ndarray) -> None:
        """The confidence of a mask came, uint8 [H, W]."""
        if (image := self._in_flight.get(stamp)) is not None:
            image.confidence = confidence
            self._settle(stamp, image)

    def on_timings(self, stamp: int, seconds: dict[str, float]) -> None:
        """The segmenter's own times of a frame came, perhaps again."""
        image = self._in_flight.get(stamp)
        if image is not None and not image.timed:
            self._timings.add(image.name, seconds)
            image.timed = True
            self._settle(stamp, image)

    def _settle(self, stamp: int, image: _SentImage) -> None:
        if image.labels is not None and image.confidence is not None:
            self._kept.write(image.name, Prediction(image.labels, image.confidence))
            image.labels = image.confidence = None
            image.kept = True
            self.masks += 1
        if image.kept and image.timed:
            del self._in_flight[stamp]

    def finish(
        self,
        counts: Counts,
        rates: dict[str, float],
        classes: Sequence[LabelClass],
        model: str,
        label_set: LabelSet | None,
        on_frame: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Score the masks; returns what metrics.json says, with `live` on top.

        Args:
            counts: of the segmenter, over the replay.
            rates: of the playing.
            classes, model: the model's, and its name.

        Raises:
            ValueError: not one mask came back; and as `score_frames`.
        """
        if not self.masks:
            raise ValueError(
                f"not one mask came back for {self.sent} images; the segmenter received "
                f"{counts.received}, rejected {counts.rejected}, failed on {counts.failed}"
            )

        def read(frame: BagFrame) -> PredictedFrame:
            return frame, self._kept.read(frame.name, frame.image.shape[:2])

        metrics = score_frames(
            self._frames, stage(read, self._frames), classes, model, label_set, self.output,
            on_frame,
        )  # fmt: skip
        live = {
            **rates,
            "images sent": self.sent,
            "lost on the way": max(0, self.sent - counts.received),
            "dropped by the node": counts.dropped,
            "rejected by the node": counts.rejected,
            "failed in the node": counts.failed,
            "masks received": self.masks,
            "masks of other images": self.unknown,
        }
        return finish_results(self.output / METRICS_FILE, self._settings, {**metrics, "live": live})
