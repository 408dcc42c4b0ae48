"""What a clip gains from a warm start: scores and flicker, against every frame drawn on its own.

page        the tables, a name that ends in .md
page.json   the scores of every row, stored as they come: a stopped study goes on
page.png    mIoU and flicker over the start of the warm rows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from camss_ros.evaluation.evaluate import LabeledFrames
from camss_ros.images.label_sets import LabelSet
from camss_ros.inference.segmenter import Segmenter
from camss_ros.inference.temporal_state import MAX_GAP, SCENE_CHANGE
from camss_ros.lab.page import paragraph, score_panels, write_page
from camss_ros.lab.result_rows import ResultRows
from camss_ros.lab.sampling_study import StudyRow, describe_scoring, score_rows, score_tables
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


def warm_rows(
    steps: Sequence[int] = STEPS, start_times: Sequence[int] = START_TIMES
) -> list[StudyRow]:
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


def study_warm_start(
    segmenter: Segmenter,
    clip: LabeledFrames,
    label_set: LabelSet,
    page: Path,
    settings: dict[str, Any],
    command: str,
    *,
    steps: Sequence[int] = STEPS,
    start_times: Sequence[int] = START_TIMES,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Score every row on the clip and write the page, going on where an earlier run stopped.

    Args:
        segmenter, page, settings, progress: as of `score_rows`; the settings have what
            `describe_scoring` says.
        clip: frames in the order of time.
        command: as the page shows it.
        steps, start_times: of the rows.

    Raises as `score_rows`.
    """
    rows = warm_rows(steps, start_times)
    results = score_rows(
        segmenter, rows, clip, label_set, page, settings, clip=True, progress=progress
    )
    plot = page.with_suffix(".png")
    _plot(rows, results, plot)
    scores, per_class = score_tables(
        ["start", "steps"], rows, results, _COLUMNS, label_set, decimals=4
    )
    method = paragraph(f"""
        {describe_scoring(settings)} The frames are one clip. Sampler ddim without noise: a cold
        frame begins from zero at timestep {rows[0].sampling.start}. In a warm one the tokens whose
        picture differs from that before by less than {TOKEN_CHANGE:g} of 255 begin from the latents
        of the frame before, scaled to the timestep of the row, and the others as in a cold one. A
        frame is cold after a gap of more than {MAX_GAP:g} s in the stamps (these frames have none)
        and where the whole picture differs from the one before by {SCENE_CHANGE:g} of 255 or more.
        Flicker: share of the pixels whose label changes from a frame to the next though the true
        one stays, without motion compensation. `warm frames`: how many continued the one
        before.""")
    write_page(
        page, "Warm start over a clip", command, method,
        f"![mIoU and flicker over the start]({plot.name})", scores, "IoU of each class:", per_class,
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
