"""What a clip gains from a warm start: scores and flicker, against every frame drawn on its own.

page        the tables, a name that ends in .md
page.json   the scores of every row, stored as they come: a stopped study goes on
page.png    mIoU and flicker over the start of the warm rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camss_ros.evaluation.formats import number
from camss_ros.inference.temporal_state import MAX_GAP, SCENE_CHANGE
from camss_ros.lab.machine import describe_segmenter
from camss_ros.lab.sampling_study import SamplingStudy, StudyRow, score_sampling
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.study_output import (
    ResultRows,
    markdown_table,
    paragraph,
    score_panels,
    verdict,
    write_page,
)
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import TOKEN_CHANGE

STEPS = (1, 2, 4)
START_TIMES = (400, 600, 700, 750, 800, 900)
_COLUMNS = {
    "mIoU": "miou",
    "flicker": "flicker",
    "boundary IoU": "boundary_iou",
    "pixel accuracy": "pixel_accuracy",
    "ECE": "expected_calibration_error",
    "warm frames": "warm_frames",
}


def warm_rows(steps: Sequence[int], start_times: Sequence[int]) -> list[StudyRow]:
    """The cold rows, then the warm ones from every start."""
    return [
        StudyRow(
            (f"warm from {time}" if time else "cold", str(count)),
            f"steps={count} warm_start_time={time}",
            SamplingOptions(steps=count, warm_start_time=time),
        )
        for time in (0, *start_times)
        for count in steps
    ]


def study_warm_start(study: SamplingStudy) -> None:
    """Score every row on a clip and write the page, going on where an earlier run stopped.

    Raises as `SamplingStudy.score`.
    """
    rows = warm_rows(STEPS, START_TIMES)
    results = study.score(rows, clip=True)
    _plot(rows, results, study.plot)
    scores, per_class = study.tables(["start", "steps"], rows, results, _COLUMNS, decimals=4)
    method = paragraph(f"""
        {study.describe()} The frames are one clip. Sampler ddim without noise: a cold
        frame begins from zero at timestep {rows[0].sampling.start}. In a warm one the tokens whose
        picture differs from that before by less than {TOKEN_CHANGE:g} of 255 begin from the latents
        of the frame before, scaled to the timestep of the row, and the others as in a cold one. A
        frame is cold after a gap of more than {MAX_GAP:g} s in the stamps (these frames have none)
        and where the whole picture differs from the one before by {SCENE_CHANGE:g} of 255 or more.
        Flicker: share of the pixels whose label changes from a frame to the next though the true
        one stays, without motion compensation. `warm frames`: how many continued the one
        before.""")
    plot = f"![mIoU and flicker over the start]({study.plot.name})"
    write_page(
        study.page, "Warm start over a clip", study.command, method, plot, scores,
        "IoU of each class:", per_class,
    )  # fmt: skip


def _plot(rows: Sequence[StudyRow], results: ResultRows, path: Path) -> None:
    panels = score_panels(path, ("mIoU", "flicker"), "warm_start_time", 6, legend_title="steps")
    with panels as scores:
        for score, axes in scores:
            for index, steps in enumerate(dict.fromkeys(row.sampling.steps for row in rows)):
                of_steps = [row for row in rows if row.sampling.steps == steps]
                points = [
                    (row.sampling.warm_start_time, value)
                    for row in of_steps
                    if (value := results[row.key][_COLUMNS[score]]) is not None
                ]
                color = f"C{index}"
                warm = [point for point in points if point[0]]
                axes.plot(*zip(*warm, strict=True), marker="o", color=color, label=f"warm, {steps}")
                for _, cold in (point for point in points if not point[0]):
                    axes.axhline(cold, color=color, linestyle="--", label=f"cold, {steps}")


# Lower ones drag old labels along, higher ones leave little of the frame before.
SECTION_START_TIMES = (700, 750, 800)


def _measure(run: SpeedRun) -> dict[str, Any]:
    """mIoU and flicker cold with four steps, which is to be reached, and of all else with one."""
    data, segmenter = run.labelled, run.settings.segmenter(backend="torch")
    rows = {}
    for row in (*warm_rows((4,), ()), *warm_rows((1,), SECTION_START_TIMES)):

        def frame_done(done: int, key: str = row.key) -> None:
            run.progress(f"warm start, {key}: {done} of {len(data.frames)} frames")

        scores = score_sampling(
            segmenter, row.sampling, data.frames, data.label_set, clip=True, progress=frame_done
        )
        chosen = {key: scores[key] for key in ("miou", "flicker", "warm_frames")}
        rows[row.key] = {"name": row.cells[0], "steps": row.sampling.steps, **chosen}
    segmenter.close()
    return {
        "data": data.name,
        **describe_segmenter(segmenter),
        "frames": len(data.frames),
        "rows": rows,
    }


def show_warm_start(row: Mapping[str, Any]) -> str:
    """Markdown of what was measured."""
    four_cold, _, *warm = row["rows"].values()
    better = [each["name"] for each in warm if _is_better(each, four_cold)]
    table = markdown_table(
        ["start", "steps", "mIoU", "flicker", "mIoU, difference", "flicker, ratio", "warm frames"],
        [
            [each["name"], str(each["steps"]), number(each["miou"], 4),
             number(each["flicker"], 4), *_against(each, four_cold), str(each["warm_frames"])]
            for each in row["rows"].values()
        ],
    )  # fmt: skip
    which = f": {', '.join(better)}" if better else " at any of these starts"
    how = paragraph(f"""
        The {row["frames"]} frames of {row["data"]}, one clip, by {row["backend"]} in
        {row["dtype"]}; `camss-ros study warm-start` has more starts and steps. Difference and ratio
        are to four cold steps; nothing is allowed for chance. The promise
        {verdict(bool(better))}{which}.""")
    return f"{how}\n\n{table}"


def _against(each: Mapping[str, Any], cold: Mapping[str, Any]) -> tuple[str, str]:
    """Difference of the mIoU and ratio of the flicker; dashes where there is none."""
    known = None not in (each["miou"], cold["miou"])
    difference = f"{each['miou'] - cold['miou']:+.4f}" if known else "-"
    if each["flicker"] is None or not cold["flicker"]:
        return difference, "-"
    return difference, f"{each['flicker'] / cold['flicker']:.3f}"


def _is_better(warm: Mapping[str, Any], cold: Mapping[str, Any]) -> bool:
    """Both scores without any allowance; where one is missing nothing is shown to be better."""
    if None in (warm["miou"], cold["miou"], warm["flicker"], cold["flicker"]):
        return False
    return bool(warm["miou"] >= cold["miou"] and warm["flicker"] < cold["flicker"])


SECTION = Section(
    "warm start",
    "Warm start",
    "with one step, mIoU no lower than that of a cold start with four, and less flicker",
    _measure,
    show_warm_start,
    needs="clip",
)
