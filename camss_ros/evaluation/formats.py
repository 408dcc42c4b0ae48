"""Scores as text, and tables for a terminal; scores that do not exist are None or NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Column, Table

# Keys of the values by class and of their mean in `ScoreAccumulator.report`, by title.
CLASS_SCORES = {
    "IoU": ("per_class_iou", "miou"),
    "boundary IoU": ("per_class_boundary_iou", "boundary_iou"),
    "precision": ("per_class_precision", "mean_precision"),
    "recall": ("per_class_recall", "mean_recall"),
    "F1": ("per_class_f1", "mean_f1"),
}
# Those of all classes together.
WHOLE_SCORES = {
    "precision_void_excluded": "precision_void_excluded",
    "pixel accuracy": "pixel_accuracy",
    "frequency-weighted IoU": "frequency_weighted_iou",
    "expected calibration error": "expected_calibration_error",
    "flicker": "flicker",
}


def number(value: float | None, decimals: int = 3, unit: str = "") -> str:
    """A score; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{decimals}f}{unit}"


def percent(value: float | None, unit: str = "") -> str:
    """A share in percent; a dash where there is none."""
    return number(None if value is None else 100 * value, 1, unit)


def result_table(first: str, *columns: str, title: str | None = None) -> Table:
    """An empty table; its first column is aligned to the left, the others to the right."""
    # Broken where there is no room, and never cut off: a pipe has 80 columns.
    table = Table(Column(first, overflow="fold"), title=title)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def point_table(title: str, points: Mapping[str, Any]) -> Table:
    """In percent, of the labelled points of each class: how many are right, and the IoU.

    Args:
        points: as `point_results`.
    """
    table = result_table("class", "right", "IoU", title=title)
    for name, right in points["per_class_right"].items():
        table.add_row(name, percent(right), percent(points["per_class_iou"][name]))
    table.add_section()
    table.add_row("all, mean", percent(points["right"]), percent(points["miou"]))
    table.add_section()
    for name in ("points", "seen", "without_label", "void"):
        table.add_row(name.replace("_", " "), f"{points[name]:,}", "")
    return table


def score_table(
    title: str, class_share: Mapping[str, float], scores: Mapping[str, Any] | None
) -> Table:
    """In percent: the share of each class in the predicted pixels and, with labels, the scores.

    Args:
        class_share: by name of the class.
        scores: of `ScoreAccumulator.report`; None without labels.
    """
    columns: dict[str, Mapping[str, float | None]] = {"share": class_share}
    if scores:
        columns |= {name: scores[per_class] for name, (per_class, _) in CLASS_SCORES.items()}
    table = result_table("class", *columns, title=title)
    for name in class_share:
        table.add_row(name, *(percent(values[name]) for values in columns.values()))
    if scores:
        table.add_section()
        table.add_row("mean", "", *(percent(scores[mean]) for _, mean in CLASS_SCORES.values()))
        table.add_section()
        for name, key in WHOLE_SCORES.items():
            if scores[key] is not None:
                table.add_row(name, "", percent(scores[key]))
    return table
