"""How often drift is told: of frames like those of the training, and of others.

output       the page
output.json  every row, stored as it comes: a stopped study goes on
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.evaluation.evaluate import (
    EvaluatedFrame,
    LabeledFrames,
    LabelledData,
    class_table,
    evaluate,
    every_nth,
)
from camss_ros.evaluation.formats import number, percent
from camss_ros.evaluation.metrics import json_number
from camss_ros.inference.drift import DriftReference, learn_reference
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.conditions import CorruptedFrames
from camss_ros.lab.corruptions import CORRUPTIONS
from camss_ros.lab.study_output import ResultRows, markdown_table, paragraph, write_page

_LEARNT = 300  # training frames, at most twice as many
_CORRUPTIONS = ("night", "fog_visibility")


def drift_rows(held_out: LabelledData, others: Sequence[LabelledData]) -> list[LabelledData]:
    """The frames held out, they by night and in fog at every level, and other data."""
    rows = [held_out]
    for name in _CORRUPTIONS:
        corruption = CORRUPTIONS[name]
        rows += [
            LabelledData(
                f"{held_out.name}, {name.partition('_')[0]}: {setting}",
                CorruptedFrames(held_out.frames, corruption, level, seed=0),
                held_out.label_set,
            )
            for level, setting in enumerate(corruption.settings, 1)
        ]
    return [*rows, *others]


def study_drift(
    segmenter: Segmenter,
    training: LabeledFrames,
    rows: Sequence[LabelledData],
    output: Path,
    settings: dict[str, Any],
    command: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Learn what `training` is like, hold every row against it, and write the page to `output`.

    Args:
        segmenter: with the model.
        training: frames that count as those of the training.
        rows: what is held against them.
        output: of the page, a name that ends in .md.
        settings, command: of the page; `settings` are what the rows depend on.
        progress: told the frames done and their number.

    Raises ValueError as `learn_reference` and `evaluate`, OutputMismatchError where `output` has
    the rows of other settings beside it, OSError.
    """
    for row in rows:  # raises now, not after hours
        class_table(segmenter.classes, segmenter.model_name, row.label_set)
    results = ResultRows(output.with_suffix(".json"), settings)
    learnt = every_nth(training, max(1, len(training) // _LEARNT))
    missing = [row for row in rows if row.name not in results]
    total, done = len(learnt) + sum(len(row.frames) for row in missing), count(1)

    def advance(_: object = None) -> None:
        progress(next(done), total)

    def look(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        advance()
        return segmenter.pooled_tokens(image), segmenter.segment(image).confidence

    if missing:
        images = (learnt[index][0] for index in range(len(learnt)))
        reference = learn_reference([images], look, segmenter.input_size)
    for row in missing:
        results.add(row.name, _held_against(reference, segmenter, row, advance))
    results.finish()
    model, data = settings["model"], settings["data"]
    method = paragraph(f"""
        Model `{model["name"]}` (weights sha256 `{model["sha256"]}`, computed in {model["dtype"]}).
        {len(learnt)} frames of {data["name"]} train count as those of the training: distance and
        unsure pixels are told in units of their 99th percentile, so that of frames of the same kind
        one in a hundred is beyond each. The node warns where the median of the last ten images that
        it looked at is beyond 1. Night and fog are those of [robustness.md](../robustness.md). The
        mIoU says whether a warning would have been right: it is that of the row, in the classes of
        its labels.""")
    write_page(output, "Drift", command, method, _table(rows, results))


def _held_against(
    reference: DriftReference,
    segmenter: Segmenter,
    row: LabelledData,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    drifts = []

    def on_frame(frame: EvaluatedFrame) -> None:
        pooled = segmenter.pooled_tokens(frame.image)
        drifts.append(reference.drift(pooled, frame.result.confidence))

    scored = evaluate(segmenter, row.frames, row.label_set, on_frame=on_frame, progress=progress)
    distances = np.array([each.token_distance for each in drifts])
    shares = np.array([each.unsure_share for each in drifts])
    far, unsure = distances > 1, shares > 1
    return {
        "frames": len(distances),
        "token_distance": float(far.mean()),
        "unsure_share": float(unsure.mean()),
        "either": float((far | unsure).mean()),
        "median_distance": float(np.median(distances)),
        "median_unsure": float(np.median(shares)),
        "miou": json_number(scored.scores.miou),
    }


def _table(rows: Sequence[LabelledData], results: ResultRows) -> str:
    def line(row: LabelledData) -> list[str]:
        found = results[row.name]
        return [
            row.name,
            str(found["frames"]),
            *(percent(found[key]) for key in ("token_distance", "unsure_share", "either")),
            *(number(found[key], 2) for key in ("median_distance", "median_unsure")),
            percent(found["miou"]),
        ]

    return markdown_table(
        [
            "frames", "number", "beyond by tokens, %", "by unsure pixels, %", "by either, %",
            "median distance", "median unsure", "mIoU, %",
        ],
        map(line, rows),
    )  # fmt: skip
