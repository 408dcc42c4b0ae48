"""The robustness of models as a Markdown page with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camss_ros.evaluation.formats import percent
from camss_ros.evaluation.report_plots import GROUP_TITLES, retention_figure
from camss_ros.lab.study_output import markdown_table, paragraph, save_figure, write_page

# The official CAM-Seg, read off the figures of its paper (arXiv 2503.15617), which its repository
# has in demo/: AP, which is our `precision_void_excluded`, on Cityscapes val, in percent. Another
# data set, in another resolution, and another network than the bundled model's: to be read beside,
# not against.
CLEAN_AP = 70.2

CURVES: dict[str, dict[float, float]] = {
    "gaussian_noise": {5: 69.1, 10: 69.1, 50: 69.1, 100: 69.1},
    "salt_and_pepper": {0.1: 62.5, 0.5: 54.0, 0.6: 9.0},
    "motion_blur": {21: 66.5, 51: 62.5, 105: 58.5, 151: 34.5},
    "gaussian_blur": {1: 68.9, 5: 64.9},
    "brightness": {0.5: 69.5, 0.75: 69.6, 1.25: 69.4, 1.5: 69.4},
    "contrast": {0.5: 69.2, 0.75: 69.5, 1.25: 69.4, 1.5: 68.8},
    "saturation": {0: 61.2, 0.5: 69.6, 1.5: 69.6, 2: 69.4},
    "hue": {-0.2: 59.0, -0.1: 63.1, 0.1: 64.3, 0.2: 62.5},
}
"""By corruption: AP by the value of its knob, of the values that are ours too."""

LEFT_OUT = (
    "A class that is predicted nowhere is left out of the precision, where the paper's script "
    "counts 0: under the strongest corruptions less is kept by its count."
)


def write_robustness_page(
    page: Path,
    command: str,
    notes: Sequence[str],
    summaries: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> list[Path]:
    """Write the page and its plots; return the plots.

    Args:
        page: Markdown file; `robustness_GROUP.png` are written beside it.
        command: that makes the page.
        notes: sentences on data and models.
        summaries: by model, by metric ("miou" and "precision_void_excluded"): of `summarize`.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    miou = {model: of["miou"]["groups"] for model, of in summaries.items()}
    groups = list(next(iter(miou.values())))
    parts = ["\n".join(f"- {note}" for note in notes), *_overview(miou, groups)]
    plots = []
    for group in groups:
        plots.append(page.parent / f"robustness_{group}.png")
        curves = {model: of[group]["corruptions"] for model, of in miou.items()}
        save_figure(retention_figure(curves), plots[-1])
        title = GROUP_TITLES[group]
        parts += [f"## {title}", f"![{title}]({plots[-1].name})", *_group_table(curves)]
    if "paper" in groups:
        parts += _official({
            model: of["precision_void_excluded"]["groups"]["paper"]["corruptions"]
            for model, of in summaries.items()
        })  # fmt: skip
    write_page(page, "Robustness", command, *parts)
    return plots


def _overview(miou: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    keys = ("P", "mPC", "rPC")
    return [
        "mIoU in percent: P on clean frames, mPC the mean over corruptions and levels, "
        "rPC = mPC / P.",
        markdown_table(
            ["", *(f"{model} {key}" for model in miou for key in keys)],
            [
                [
                    GROUP_TITLES[group],
                    *(percent(of[group][k]) for of in miou.values() for k in keys),
                ]
                for group in groups
            ],
        ),
    ]


def _group_table(corruptions: Mapping[str, Any]) -> list[str]:
    """Of one group: its corruptions by model."""
    rows = []
    for name, first in next(iter(corruptions.values())).items():
        found = [of[name] for of in corruptions.values()]
        means = (f"**{percent(x['mean'])}** ({percent(x['retention'])})" for x in found)
        rows.append([f"**{name}**", "mean", *means])
        for index, level in enumerate(first["levels"]):
            cells = (corruption["levels"][index] for corruption in found)
            scores = (f"{percent(x['score'])} ({percent(x['retention'])})" for x in cells)
            rows.append(["", level["setting"], *scores])
    return [
        "mIoU, and in brackets the share of P that is kept, in percent.",
        markdown_table(["corruption", "setting", *corruptions], rows),
    ]


def _official(corruptions: Mapping[str, Any]) -> list[str]:
    """Of the paper's corruptions, by model."""
    rows = []
    for name, points in CURVES.items():
        for value, ap in points.items():
            found = [
                next(level for level in of[name]["levels"] if level["value"] == value)
                for of in corruptions.values()
            ]
            kept = (percent(level["retention"]) for level in found)
            rows.append([name, found[0]["setting"], percent(ap / CLEAN_AP), *kept])
    return [
        "## Beside the official network",
        paragraph(f"""
            Share of the clean precision_void_excluded (the paper's AP) that is kept, in percent.
            The official curves are read off the paper's figures: Cityscapes val, clean AP
            {CLEAN_AP}. Other data (frames of another size, so that a blur of so many pixels is
            another blur) and another network: no ranking follows from this table. {LEFT_OUT}"""),
        markdown_table(["corruption", "setting", "official", *corruptions], rows),
    ]
