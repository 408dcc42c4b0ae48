"""A guard: labelled frames and the IoU that whatever takes over must reach on them.

A YAML file beside the frames or anywhere:

    data: folder                # reader (docs/datasets.md)
    root: .                     # of the data; below the folder of this file unless absolute
    split: val
    limits: {miou: 0.61, person: 0.42}
    label_set: camvid11         # labels are mapped onto it; may be left out; a file as `root` is
    every: 2                    # of the frames is taken; 1 if left out
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from camss_ros.evaluation.evaluate import FrameSegmenter, LabelledData, evaluate, open_labelled
from camss_ros.evaluation.paired import MIOU, check_names
from camss_ros.evaluation.result_folder import write_atomically
from camss_ros.images.label_sets import is_label_set_file
from camss_ros.model.strict_decode import decode


class GuardError(ValueError):
    """A guard refuses a model or graph, or cannot be read; the message says why."""


@dataclass(frozen=True)
class GuardFile:
    """What the file says; see the module's docstring. Raises ValueError for a value out of range.

    Attributes:
        limits: least IoU, 0 to 1, of classes by name, and of their mean as "miou".
    """

    data: str
    root: str
    limits: dict  # type: ignore[type-arg]  # str to float, as `decode` can't tell
    split: str = "val"
    label_set: str | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}: expected 1 or more")
        for name, limit in self.limits.items():
            if not isinstance(limit, int | float) or not 0 <= limit <= 1:
                raise ValueError(f"limits.{name} is {limit!r}: expected an IoU from 0 to 1")
        if not self.limits:
            raise ValueError("limits are empty: nothing would be refused")


def check_guard(path: str | Path, segmenter: FrameSegmenter) -> None:
    """Segment the frames of a guard.

    Raises:
        GuardError: an IoU is below its limit, with the table of all; the segmenter does not know
            the classes; or the file or its frames can't be read.
    """
    path = Path(path)
    try:
        guard = decode(GuardFile, yaml.safe_load(path.read_text(encoding="utf-8")))
        root, label_set = path.parent / guard.root, guard.label_set
        if label_set is not None and is_label_set_file(label_set):
            label_set = str(path.parent / label_set)
        data = open_labelled(guard.data, root, guard.split, label_set, guard.every)
        check_names(guard.limits, [MIOU, *(it.name for it in data.label_set.classes)])
        found = _iou(segmenter, data)
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise GuardError(f"guard {path}: {error}") from error
    # what is not there at all, not even predicted, is not found either
    below = [name for name, limit in guard.limits.items() if not found[name] >= limit]
    if below:
        names = sorted(guard.limits, key=lambda name: name not in below)
        rows = [
            f"  {name}: {found[name]:.4f}, at least {guard.limits[name]:.4f}"
            + (" is wanted" if name in below else "")
            for name in names
        ]
        raise GuardError("\n".join([f"guard {path} refuses it, by IoU:", *rows]))


def make_guard(
    path: Path,
    open_segmenter: Callable[[], FrameSegmenter],
    guard: dict[str, Any],
    margin: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Write a guard whose limits are what a segmenter reaches, less a margin.

    Args:
        path: of the file.
        open_segmenter: called when the data are found; what it opens scores as whatever takes over
            is wanted to.
        guard: entries of `GuardFile` but for the limits.
        margin: that an IoU may fall, 0 to 1.
        progress: told the frames done and how many there are.

    Returns:
        The limits; a class that they would not protect (IoU within the margin) has none.

    Raises ValueError as `evaluate`, and where not even the mean would be protected; OSError.
    """
    data = open_labelled(**guard)
    found = _iou(open_segmenter(), data, lambda done: progress(done, len(data.frames)))
    # rounded down: what the guard is of has to pass it
    limits = {
        name: math.floor(1e4 * (iou - margin)) / 1e4 for name, iou in found.items() if iou > margin
    }
    content = {**guard, "limits": limits}
    for name, value in guard.items():
        if name == "root" or (name == "label_set" and value and is_label_set_file(value)):
            content[name] = _place(Path(value), path)
    GuardFile(**content)
    write_atomically(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    return limits


def _iou(
    segmenter: FrameSegmenter,
    data: LabelledData,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, float]:
    """By class and of all, NaN where there is none."""
    scores = evaluate(segmenter, data.frames, data.label_set, progress=progress).scores
    of_classes = zip((it.name for it in data.label_set.classes), scores.per_class_iou, strict=True)
    return {MIOU: scores.miou, **{name: float(iou) for name, iou in of_classes}}


def _place(path: Path, guard: Path) -> str:
    """Relative to the guard where it is below its folder, so that both can move together."""
    path, folder = path.absolute(), guard.absolute().parent
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
