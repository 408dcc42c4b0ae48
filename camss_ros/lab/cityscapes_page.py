"""The page of `study cityscapes`: tables beside the paper's figures, and the curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camss_ros.evaluation.formats import number, percent
from camss_ros.evaluation.report_plots import retention_figure
from camss_ros.lab.corruptions import CORRUPTIONS, PAPER_HEIGHT, Corruption
from camss_ros.lab.robustness import METRICS, Rows, summarize
from camss_ros.lab.robustness_page import CLEAN_AP, CURVES, LEFT_OUT
from camss_ros.lab.study_output import (
    ResultRows,
    markdown_table,
    paragraph,
    save_figure,
    write_page,
)

if TYPE_CHECKING:
    from camss_ros.lab.cityscapes_study import SizedData

_COLUMNS = {
    "mIoU": "miou",
    "precision_void_excluded": "precision_void_excluded",
    "pixel accuracy": "pixel_accuracy",
    "ECE": "expected_calibration_error",
    "AUROC of wrong pixels": "wrong_pixel_auroc",
}
_PAPER = ("paper", "paper_scaled")


def write_cityscapes_page(
    output: Path,
    command: str,
    settings: Mapping[str, Any],
    data: Sequence[SizedData],
    results: ResultRows,
    robustness: Mapping[str, Rows],
) -> list[Path]:
    """Write cityscapes.md and cityscapes.png to `output`; return both.

    Args:
        command: that makes the page.
        settings: `models`, {"name", "sha256"} by role.
        data: what was scored, the first one under corruptions too.
        results: `evaluation_report` by "DATA: CONTENDER".
        robustness: conditions by contender.
    """
    page, picture = output / "cityscapes.md", output / "cityscapes.png"
    summaries = {
        metric: {name: summarize(rows, metric)["groups"] for name, rows in robustness.items()}
        for metric in ("precision_void_excluded", "miou")
    }
    curves = {
        name: {**groups["paper"]["corruptions"], **groups["paper_scaled"]["corruptions"]}
        for name, groups in summaries["miou"].items()
    }
    save_figure(retention_figure(curves), picture)
    first = data[0]
    models = "; ".join(
        f"{role} `{model['name']}` (weights sha256 `{model['sha256']}`)"
        for role, model in settings["models"].items()
    )
    what = paragraph(f"""
        {models[0].upper() + models[1:]}. Scores on {len(first)} frames of {first.name}, read and
        segmented at {first.size[1]} x {first.size[0]}; pixels whose label is void or in doubt count
        for nothing. `precision_void_excluded` is the paper's "AP". ECE: expected calibration error
        of the confidence. AUROC: how well a low confidence finds the wrong pixels (1: always, 0.5:
        by chance).""")
    beside = paragraph(f"""
        The paper has {CLEAN_AP} % with cam-seg-base (287 M parameters) on the 500 frames of the val
        split at full resolution, every pixel decided. This is another network on other frames,
        smaller ones, whose doubtful pixels are left out: the two stand beside, not against each
        other.""")
    corrupted = paragraph(f"""
        Share of the clean precision_void_excluded and of the clean mIoU that is kept, in percent.
        The paper's are read off its figures. It blurs frames {PAPER_HEIGHT} px high: lengths are
        scaled with the height of these frames ("of {PAPER_HEIGHT}") for the comparison, and
        unscaled beside it. {LEFT_OUT}""")
    other = paragraph("""
        The same weights on other data, each in its own classes, and in weather and at night.
        Zero-shot, as the paper means it, where the weights were trained on Cityscapes alone; the
        model card says what they were trained on.""")
    write_page(
        page,
        "Cityscapes, beside the paper",
        command,
        what,
        _scores(first, results),
        beside,
        "By class, of the first row:",
        _by_class(first, results),
        "## Under the paper's corruptions",
        f"![Share of the clean mIoU that is kept]({picture.name})",
        corrupted,
        _kept(summaries, robustness),
        "The confidence on clean frames, under these corruptions and in weather, the mean over all "
        "levels:",
        _confidence(robustness),
        "## On other data",
        other,
        _others(data, results, robustness),
    )
    return [page, picture]


def _key(data: SizedData, name: str) -> str:
    return f"{data.name}: {name}"


def _scored(data: SizedData, results: ResultRows) -> list[str]:
    prefix = _key(data, "")
    return [key.removeprefix(prefix) for key in results if key.startswith(prefix)]


def _scores(data: SizedData, results: ResultRows) -> str:
    rows = [
        [name, *(number(results[_key(data, name)][column]) for column in _COLUMNS.values())]
        for name in _scored(data, results)
    ]
    return markdown_table(["latents", *_COLUMNS], rows)


def _by_class(data: SizedData, results: ResultRows) -> str:
    names = _scored(data, results)
    first = results[_key(data, names[0])]
    columns = ("per_class_iou", "per_class_precision", "per_class_recall")
    rows = [
        [each.name, *(number(first[column][each.name]) for column in columns)]
        for each in data.label_set.classes
    ]
    table = markdown_table(["class", "IoU", "precision", "recall"], rows)
    absent = [name for name, recall in first["per_class_recall"].items() if recall is None]
    if not absent:
        return table
    note = paragraph(f"""
        Not in these frames: {", ".join(absent)}. Such a class counts 0 once a single pixel is taken
        for it and not at all otherwise: a few pixels change a mean, and a share that is kept, by
        one part in {len(rows)}.""")
    return f"{table}\n{note}"


def _kept(summaries: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> str:
    rows = []
    for corruption in (one for one in CORRUPTIONS.values() if one.group in _PAPER):
        levels = [
            summaries[metric][name][corruption.group]["corruptions"][corruption.name]["levels"]
            for name in names
            for metric in summaries
        ]
        for index, setting in enumerate(corruption.settings):
            kept = [percent(of[index]["retention"]) for of in levels]
            paper = _paper(corruption, corruption.values[index])
            rows.append([f"{corruption.name}, {setting}", paper, *kept])
    heads = [f"{name}: {metric}" for name in names for metric in ("precision", "mIoU")]
    return markdown_table(["corruption", "paper: precision", *heads], rows)


def _paper(corruption: Corruption, value: float) -> str:
    """What the paper's precision keeps; a dash where its figures do not tell, or of other blurs."""
    name = corruption.name.removesuffix("_scaled")
    if corruption.group == "paper" and f"{name}_scaled" in CORRUPTIONS:
        return "-"
    ap = CURVES[name].get(value)
    return "-" if ap is None else percent(ap / CLEAN_AP)


def _confidence(robustness: Mapping[str, Rows]) -> str:
    rows = []
    first = next(iter(robustness.values()))
    for corruption in dict.fromkeys(row["corruption"] for row in first.values()):
        cells = []
        for of in robustness.values():
            levels = [row for row in of.values() if row["corruption"] == corruption]
            for column in ("expected_calibration_error", "wrong_pixel_auroc"):
                known = [row[column] for row in levels if row[column] is not None]
                cells.append(number(sum(known) / len(known) if known else None))
        rows.append([corruption, *cells])
    heads = [f"{name}: {column}" for name in robustness for column in ("ECE", "AUROC")]
    return markdown_table(["corruption", *heads], rows)


def _others(data: Sequence[SizedData], results: ResultRows, robustness: Mapping[str, Rows]) -> str:
    rows = []
    for one in data[1:]:
        for name in _scored(one, results):
            scores = results[_key(one, name)]
            title = f"{one.name}, {len(one)} frames at {one.size[1]} x {one.size[0]}"
            rows.append([title, name, *(number(scores[column]) for column in METRICS)])
    for corruption in (one for one in CORRUPTIONS.values() if one.group == "weather"):
        for name, of in robustness.items():
            levels = [row for row in of.values() if row["corruption"] == corruption.name]
            means = [sum(row[column] or 0.0 for row in levels) / len(levels) for column in METRICS]
            title = f"{data[0].name}, {corruption.name}: mean of {len(levels)} levels"
            rows.append([title, name, *map(number, means)])
    return markdown_table(
        ["data", "latents", "mIoU", "precision_void_excluded", "pixel accuracy"], rows
    )
