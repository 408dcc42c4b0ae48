"""What is common to studies of how latents are drawn: rows, their scores, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camss_ros.evaluation.evaluate import (
    EvaluatedFrame,
    LabeledFrames,
    evaluate,
    evaluation_report,
)
from camss_ros.evaluation.formats import number
from camss_ros.images.label_sets import LabelSet
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.page import markdown_table
from camss_ros.lab.result_rows import ResultRows
from camss_ros.model.schedule import SamplingOptions


@dataclass(frozen=True)
class StudyRow:
    """One row of a study.

    Attributes:
        cells: that a table's row begins with.
        key: names what is computed; rows of one key are computed once.
        sampling: how latents are drawn.
    """

    cells: tuple[str, ...]
    key: str
    sampling: SamplingOptions


def score_rows(
    segmenter: Segmenter,
    rows: Sequence[StudyRow],
    frames: LabeledFrames,
    label_set: LabelSet,
    page: Path,
    settings: dict[str, Any],
    *,
    clip: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ResultRows:
    """Score every row, going on where an earlier run stopped.

    Args:
        segmenter: whose `sampling` is set row by row.
        clip: the frames are in the order of time.
        page: a name that ends in .md; the scores are stored beside it, as .json.
        settings: what the scores depend on beside the rows, JSON-able.
        progress: called with the frames done and their number, over all rows.

    Raises:
        ValueError: model and data have different classes, or the frames of a clip differ in size.
        OutputMismatchError: there are results of other settings.
        OSError: a result can't be written.
    """
    results = ResultRows(page.with_suffix(".json"), settings)
    samplings = {row.key: row.sampling for row in rows}
    total = len(samplings) * len(frames)
    for index, (key, sampling) in enumerate(samplings.items()):
        before = index * len(frames)
        if key not in results:
            scores = score_sampling(
                segmenter, sampling, frames, label_set, clip=clip,
                progress=lambda done, before=before: progress(before + done, total),  # type: ignore[misc]
            )  # fmt: skip
            results.add(key, scores)
        progress(before + len(frames), total)
    results.finish()
    return results


def score_sampling(
    segmenter: Segmenter,
    sampling: SamplingOptions,
    frames: LabeledFrames,
    label_set: LabelSet,
    *,
    clip: bool,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """All scores as JSON values; of a clip also its flicker and `warm_frames`, the number of those
    that continued the frame before. Sets the segmenter's `sampling`. Raises as `evaluate`."""
    warm_frames = 0

    def count(frame: EvaluatedFrame) -> None:
        nonlocal warm_frames
        warm_frames += frame.result.warm

    segmenter.sampling = sampling
    segmenter.forget_last_frames()
    evaluation = evaluate(
        segmenter, frames, label_set, clip=clip, progress=progress, on_frame=count
    )
    scores = evaluation_report(evaluation, label_set)
    del scores["seconds_per_frame"]
    if clip:
        scores = {"warm_frames": warm_frames, **scores}
    else:
        del scores["flicker"]
    return {"sampling": asdict(sampling), **scores}


def score_tables(
    header: Sequence[str],
    rows: Sequence[StudyRow],
    results: ResultRows,
    columns: Mapping[str, str],
    label_set: LabelSet,
    decimals: int = 3,
) -> tuple[str, str]:
    """Markdown tables: the scores of each row, and the IoU of each class.

    Args:
        header: of the rows' own cells.
        columns: keys of the scores, by their title.
        decimals: of the scores.
    """
    names = [label_class.name for label_class in label_set.classes]
    scores, per_class = [], []
    for row in rows:
        result = results[row.key]
        values = (result[key] for key in columns.values())
        scores.append([*row.cells, *(_cell(value, decimals) for value in values)])
        per_class.append([*row.cells, *(number(result["per_class_iou"][name]) for name in names)])
    return (
        markdown_table([*header, *columns], scores),
        markdown_table([*header, *names], per_class),
    )


def _cell(value: float | None, decimals: int) -> str:
    return str(value) if isinstance(value, int) else number(value, decimals)


def describe_scoring(settings: Mapping[str, Any]) -> str:
    """What was scored on what, for the page.

    `settings`: `model` has `name`, `sha256` and `dtype`; `data` has `name`, `split` and `frames`.
    """
    model, data = settings["model"], settings["data"]
    return (
        f"Model `{model['name']}` (weights sha256 `{model['sha256']}`, computed in "
        f"{model['dtype']}) on {data['frames']} frames of {data['name']} {data['split']}, at the "
        "size of the labels; void is ignored."
    )
