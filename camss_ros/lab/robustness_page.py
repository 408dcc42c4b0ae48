"""The robustness of models as a Markdown page with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camss_ros.evaluation.formats import percent
from camss_ros.evaluation.report_plots import GROUP_TITLES, retention_figure

# The official CAM-Seg, read off the figures of its paper (arXiv 2503.15617): AP, which is our
# `precision_void_excluded`, on Cityscapes val, in percent. Another data set, in another resolution,
# and another network than the bundled model's: to be read beside, not against.
CLEAN_AP = 70.2

CURVES: dict[str, tuple[tuple[float, float], ...]] = {
    "gaussian_noise": ((5, 69.1), (100, 69.1)),
    "salt_and_pepper": ((0.1, 62.5), (0.5, 54.0), (0.6, 9.0)),
    "motion_blur": ((21, 66.5), (51, 62.5), (105, 58.5), (151, 34.5)),
    "saturation": ((0, 61.2),),
    "hue": ((-0.2, 59.0), (0.2, 62.5)),
}
"""By corruption: (value of its knob, AP)."""

LOWEST: dict[str, float] = {"gaussian_blur": 66.9, "brightness": 68.8, "contrast": 68.8}
"""The lowest AP over the range, where the figures tell no more."""


def write_page(
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
    models = list(summaries)
    miou = {model: summaries[model]["miou"]["groups"] for model in models}
    groups = list(miou[models[0]])
    lines = ["# Robustness", "", "Written by", ""]
    lines += ["<!-- not run: it takes long -->", "```sh", command, "```", ""]
    lines += [*(f"- {note}" for note in notes), ""]
    lines += _overview(miou, groups)
    plots = []
    for group in groups:
        plot = page.parent / f"robustness_{group}.png"
        curves = {model: miou[model][group]["corruptions"] for model in models}
        retention_figure(curves).savefig(plot, dpi=110)
        plots.append(plot)
        title = GROUP_TITLES[group]
        lines += ["", f"## {title}", "", f"![{title}]({plot.name})", ""]
        lines += _group_table({model: miou[model][group] for model in models})
    precision = {model: summaries[model]["precision_void_excluded"]["groups"] for model in models}
    if "paper" in groups:
        lines += _official({model: precision[model]["paper"] for model in models})
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return plots


def _overview(miou: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    lines = [
        "mIoU in percent: P on clean frames, mPC the mean over corruptions and levels, "
        "rPC = mPC / P.", "",
        "| | " + " | ".join(f"{model} P | {model} mPC | {model} rPC" for model in miou) + " |",
        "|---|" + "---|" * (3 * len(miou)),
    ]  # fmt: skip
    for group in groups:
        cells = [f"{percent(of[group][key])}" for of in miou.values() for key in _KEYS]
        lines.append(f"| {GROUP_TITLES[group]} | " + " | ".join(cells) + " |")
    return lines


_KEYS = ("P", "mPC", "rPC")


def _group_table(group_of: Mapping[str, Any]) -> list[str]:
    models = list(group_of)
    lines = [
        "mIoU, and in brackets the share of P that is kept, in percent.", "",
        "| corruption | setting | " + " | ".join(models) + " |",
        "|---|---|" + "---|" * len(models),
    ]  # fmt: skip
    for name, first in group_of[models[0]]["corruptions"].items():
        found = [group_of[model]["corruptions"][name] for model in models]
        means = " | ".join(
            f"**{percent(it['mean'])}** ({percent(it['retention'])})" for it in found
        )
        lines.append(f"| **{name}** | mean | {means} |")
        for index, level in enumerate(first["levels"]):
            cells = [it["levels"][index] for it in found]
            scores = " | ".join(
                f"{percent(it['score'])} ({percent(it['retention'])})" for it in cells
            )
            lines.append(f"| | {level['setting']} | {scores} |")
    return lines


def _official(paper_of: Mapping[str, Any]) -> list[str]:
    lines = [
        "", "## Beside the official network", "",
        "Share of the clean precision_void_excluded (the paper's AP) that is kept, in percent. The "
        "official curves are read off the paper's figures: Cityscapes val, clean AP "
        f"{CLEAN_AP}. Other data (frames of another size, so that a blur of so many pixels is "
        "another blur) and another network: no ranking follows from this table.", "",
        "| corruption | setting | official | " + " | ".join(paper_of) + " |",
        "|---|---|---|" + "---|" * len(paper_of),
    ]  # fmt: skip
    for name, points in CURVES.items():
        for value, ap in points:
            found = [_at(of, name, value) for of in paper_of.values()]
            cells = " | ".join(percent(it["retention"]) for it in found)
            lines.append(f"| {name} | {found[0]['setting']} | {percent(ap / CLEAN_AP)} | {cells} |")
    for name, ap in LOWEST.items():
        levels = [of["corruptions"][name]["levels"] for of in paper_of.values()]
        cells = " | ".join(percent(min(it["retention"] for it in level)) for level in levels)
        lines.append(f"| {name} | lowest | {percent(ap / CLEAN_AP)} | {cells} |")
    return lines


def _at(group: Mapping[str, Any], name: str, value: float) -> Mapping[str, Any]:
    levels = group["corruptions"][name]["levels"]
    found: Mapping[str, Any] = next(level for level in levels if level["value"] == value)
    return found
