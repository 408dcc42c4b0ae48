"""Scores of models under corruptions, and how much of the clean score is kept.

P is the score on clean frames, mPC the mean over corruptions of the mean over their levels,
rPC = mPC / P (Michaelis et al., arXiv 1907.07484); the retention of a corruption is its mean / P.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.evaluation.evaluate import FrameSegmenter, evaluate
from camss_ros.evaluation.metrics import json_number
from camss_ros.evaluation.result_folder import write_json
from camss_ros.images.label_sets import LabelSet
from camss_ros.lab.conditions import CLEAN, Condition

SUMMARY_FILE = "robustness.json"
METRICS = ("miou", "precision_void_excluded", "pixel_accuracy")

_OF_CONFIDENCE = ("expected_calibration_error", "wrong_pixel_auroc")

Rows = dict[str, dict[str, Any]]
"""By key of the condition: its description, the scores of METRICS, and how good the confidence is
(`expected_calibration_error`, `wrong_pixel_auroc`); null where undefined."""


def score_conditions(
    open_segmenter: Callable[[], FrameSegmenter],
    conditions: Sequence[tuple[LabelSet, Sequence[Condition]]],
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rows:
    """Scores one model in every condition, leaving out those that `folder` has the scores of.

    Args:
        open_segmenter: called only if something is to be done.
        conditions: any number of (label set of the labels, conditions).
        folder: of this model; one JSON file for each condition.
        progress: told the conditions done and their number.

    Raises:
        ValueError: model and data have different classes; and what the frames raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    segmenter: FrameSegmenter | None = None
    rows: Rows = {}
    wanted = [(label_set, each) for label_set, some in conditions for each in some]
    for done, (label_set, condition) in enumerate(wanted, 1):
        path = folder / f"{condition.key}.json"
        if not path.exists():
            if segmenter is None:
                segmenter = open_segmenter()
            write_json(path, _score(segmenter, condition, label_set))
        rows[condition.key] = json.loads(path.read_text())
        progress(done, len(wanted))
    return rows


def _score(segmenter: FrameSegmenter, condition: Condition, label_set: LabelSet) -> dict[str, Any]:
    result = evaluate(segmenter, condition.frames, label_set)
    scores = result.accumulator.report(label_set.classes)
    return {
        **vars(condition),
        "value": json_number(condition.value),
        "frames": result.frames,
        **{name: scores[name] for name in (*METRICS, *_OF_CONFIDENCE)},
    }


def summarize(rows: Rows, metric: str) -> dict[str, Any]:
    """P, mPC, rPC and retentions of one metric, by group.

    `groups`: by name {"P", "mPC", "rPC", "corruptions": {name: {"mean", "retention", "levels":
    [{"value", "setting", "score", "retention"}]}}}. Viewpoints refer to their own clean frames,
    everything else to the clean data. An undefined score counts as 0; so does a ratio to P = 0.
    """
    clean = {row["group"]: _value(row, metric) for row in rows.values() if row["level"] == 0}
    groups: dict[str, Any] = {}
    for row in rows.values():
        if row["corruption"] == CLEAN:
            continue
        reference = clean.get(row["group"], clean.get("data", 0.0))
        group = groups.setdefault(row["group"], {"P": reference, "corruptions": {}})
        corruption = group["corruptions"].setdefault(row["corruption"], {"levels": []})
        score = _value(row, metric)
        corruption["levels"].append({
            "value": row["value"], "setting": row["setting"], "score": score,
            "retention": _ratio(score, reference),
        })  # fmt: skip
    for group in groups.values():
        for corruption in group["corruptions"].values():
            corruption["mean"] = float(np.mean([level["score"] for level in corruption["levels"]]))
            corruption["retention"] = _ratio(corruption["mean"], group["P"])
        group["mPC"] = float(np.mean([one["mean"] for one in group["corruptions"].values()]))
        group["rPC"] = _ratio(group["mPC"], group["P"])
    return {"metric": metric, "groups": groups}


def read_robustness(path: Path, sha256: str) -> dict[str, Any]:
    """What a report says about robustness, from the robustness.json of a finished run.

    Args:
        sha256: of the weights of the model that the report is on.

    Returns:
        {"settings", "groups"}, the groups of mIoU by group and model.

    Raises:
        OSError: it can't be read.
        ValueError: it is another file, or of a run that is unfinished or of other weights.
    """
    try:
        content = json.loads(path.read_text())
        complete, settings = content["complete"], content["settings"]
        scored = settings["models"]["model"]["sha256"]
        summaries = content["summaries"] if complete else {}
        by_model = {role: of["miou"]["groups"] for role, of in summaries.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"'{path}' is not the {SUMMARY_FILE} that `camss-ros robustness` writes"
        ) from error
    if not complete:
        raise ValueError(f"'{path}' is of a run that is not finished: run it again, it goes on")
    if scored != sha256:
        raise ValueError(
            f"'{path}' is of other weights (SHA-256 {scored[:16]}) than the model's ({sha256[:16]})"
        )
    groups = {
        group: {role: of[group] for role, of in by_model.items()} for group in by_model["model"]
    }
    return {"settings": settings, "groups": groups}


def _value(row: Mapping[str, Any], metric: str) -> float:
    return 0.0 if row[metric] is None else float(row[metric])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
