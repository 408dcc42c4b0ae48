"""The results of one camera of one bag, or of one data set: what a report is made of."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.evaluate import EvaluatedFrame
from camss_ros.evaluation.evaluate_bag import FRAMES_FILE, METRICS_FILE, THUMBNAILS, TIMINGS_FILE
from camss_ros.evaluation.frame_thumbnails import FrameThumbnails, Thumbnails, load_thumbnails
from camss_ros.evaluation.timings import read_timings
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet

SERIES = ("miou", "pixel_accuracy", "confidence")


@dataclass(frozen=True)
class PartResults:
    """Results of one run over frames.

    Attributes:
        name: of the part: a bag, a camera, a data set.
        label_set: the classes of labels and predictions.
        frames: evaluated.
        class_pixels: int64 [classes], predicted pixels; `pixels`: all of them, void too.
        counts: as `ScoreAccumulator.counts`.
        times: float64 [frames], seconds since the first frame; None where frames are no clip.
        series: float64 [frames] of each name in `SERIES`, NaN where there is none.
        seconds: float64 for each stage, "total" among them, and "latency" where the node was run.
        worst, best: frames.
        notes: what a reader should know: warnings, what was passed over.
        metadata: more numbers for the summary, by their name.
        points: as `point_results`, of "depth" and "lidar".
    """

    name: str
    label_set: LabelSet
    frames: int
    class_pixels: np.ndarray
    pixels: int
    counts: dict[str, Any]
    times: np.ndarray | None
    series: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]
    worst: list[Thumbnails]
    best: list[Thumbnails]
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    points: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_part(folder: Path, name: str) -> PartResults:
    """The results that a finished run has left in `folder`.

    Holds some dozens of bytes a frame. Raises OSError or ValueError where they are not whole.
    """
    metrics = json.loads((folder / METRICS_FILE).read_text())
    if not metrics.get("complete"):
        raise ValueError(f"'{folder}' holds a run that has not been finished")
    classes = tuple(
        LabelClass(i, c["name"], tuple(c["color"])) for i, c in enumerate(metrics["classes"])
    )
    stamps, columns = array("q"), {key: array("d") for key in SERIES}
    with (folder / FRAMES_FILE).open() as lines:
        for line in lines:
            frame = json.loads(line)
            stamps.append(frame["stamp"])
            for key in SERIES:
                columns[key].append(float("nan") if frame[key] is None else frame[key])
    times = np.array(stamps, np.int64)
    worst, best = load_thumbnails(folder / THUMBNAILS)
    return PartResults(
        name=name,
        label_set=LabelSet("", classes),
        frames=metrics["frames"],
        class_pixels=np.array(metrics["class_pixels"], np.int64),
        pixels=metrics["pixels"],
        counts=metrics["counts"],
        times=(times - times[:1]) / 1e9,
        series={key: np.array(values) for key, values in columns.items()},
        seconds=read_timings(folder / TIMINGS_FILE),
        worst=worst,
        best=best,
        notes=notes_of(metrics),
        metadata=metrics.get("live", {}),
        points=metrics.get("points", {}),
    )


def notes_of(metrics: dict[str, Any]) -> list[str]:
    """What metrics.json says was wrong with a bag, and what of it was passed over."""
    passed_over = metrics["passed_over"]
    faults = (f"{count} x {reason}" for reason, count in passed_over["by_reason"].items())
    return [*metrics["warnings"], *faults, *passed_over["first"]]


class CollectedResults:
    """Collects what a report says of each frame of `evaluate`. Holds some dozens of bytes a frame.

    Args:
        name: of the part.
        label_set: of the labels.
    """

    def __init__(self, name: str, label_set: LabelSet) -> None:
        self._name, self._label_set = name, label_set
        self._thumbnails = FrameThumbnails(label_set.classes)
        self._columns = {key: array("d") for key in SERIES}
        self._seconds: dict[str, array[float]] = {}

    def add(self, frame: EvaluatedFrame) -> None:
        """The next frame."""
        scores, result = frame.scores, frame.result
        values = scores.miou, scores.pixel_accuracy, float(result.confidence.mean()) / 255
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        for stage, seconds in result.timings.items():
            self._seconds.setdefault(stage, array("d")).append(seconds)
        if not np.isnan(scores.miou):
            self._thumbnails.add(
                frame.name, scores.miou, frame.image, frame.label, frame.predicted,
                result.confidence,
            )  # fmt: skip

    def part(self, accumulator: ScoreAccumulator) -> PartResults:
        """All of it, with the accumulator of `evaluate`."""
        return PartResults(
            name=self._name,
            label_set=self._label_set,
            frames=len(self._columns["miou"]),
            class_pixels=accumulator.predicted_pixels[: len(self._label_set.classes)],
            pixels=int(accumulator.predicted_pixels.sum()),
            counts=accumulator.counts(),
            times=None,
            series={key: np.array(values) for key, values in self._columns.items()},
            seconds={stage: np.array(values) for stage, values in self._seconds.items()},
            worst=self._thumbnails.worst,
            best=self._thumbnails.best,
        )
