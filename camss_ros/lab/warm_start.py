"""What a clip gains from a warm start: scores and flicker, against every frame drawn on its own.

output       the page
output.json  the scores of every row, stored as they come: a stopped study goes on
output.png   mIoU and flicker over the start of the warm rows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from camss_ros.evaluation.result_folder import write_atomically
from camss_ros.images.label_sets import LabelSet
from camss_ros.inference.segmenter import Segmenter
from camss_ros.inference.temporal_state import MAX_GAP, SCENE_CHANGE
from camss_ros.lab.page import (
    command_block,
    markdown_table,
    new_figure,
    paragraph,
    save_figure,
)
from camss_ros.lab.result_rows import ResultRows
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
}


@dataclass(frozen=True)
class WarmRow:
    """One row: its name, and how its latents are drawn."""

    name: str
    sampling: SamplingOptions

    @property
    def key(self) -> str:
        """Tells one row from another."""
        s = self.sampling
        return f"steps={s.steps} warm_start_time={s.warm_start_time}"


def warm_rows(
    steps: Sequence[int] = STEPS, start_times: Sequence[int] = START_TIMES
) -> list[WarmRow]:
    """The cold rows, then the warm ones from every start."""
    return [
        WarmRow(
            f"warm from {time}" if time else "cold",
            SamplingOptions(steps=count, warm_start_time=time),
        )
        for time in (0, *start_times)
        for count in steps
    ]


def study_warm_start(
    segmenter: Segmenter,
    clip: LabeledFrames,
    label_set: LabelSet,
    output: Path,
    settings: dict[str, Any],
    command: str,
    *,
    steps: Sequence[int] = STEPS,
    start_times: Sequence[int] = START_TIMES,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Score every row on the clip and write the page to `output`, going on where it stopped.

    Args:
        segmenter, settings, command, progress: as of `step_study.study_steps`.
        clip: frames in the order of time.
        output: of the page, a name that ends in .md.
        steps, start_times: of the rows.

    Raises ValueError where model and data have different classes or the frames differ in size,
    OutputMismatchError where `output` has the results of other settings beside it, OSError where
    it can't be written.
    """
    rows = warm_rows(steps, start_times)
    results = ResultRows(output.with_suffix(".json"), settings)

    def score(sampling: SamplingOptions, frame_done: Callable[[int], None]) -> dict[str, Any]:
        return score_clip(segmenter, sampling, clip, label_set, frame_done)

    samplings = {row.key: row.sampling for row in rows}
    results.score_each(samplings, len(clip), score, progress)
    _plot(rows, results, output.with_suffix(".png"))
    page = _page(rows, results, label_set, output.with_suffix(".png").name, settings, command)
    write_atomically(output, page.encode())


def score_clip(
    segmenter: Segmenter,
    sampling: SamplingOptions,
    clip: LabeledFrames,
    label_set: LabelSet,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Everything measured on a clip from its beginning, as JSON values; `warm_frames`: that
    continued the one before. Sets the segmenter's `sampling`. Raises as `evaluate`."""
    warm_frames = 0

    def count(frame: EvaluatedFrame) -> None:
        nonlocal warm_frames
        warm_frames += frame.result.warm

    segmenter.sampling = sampling
    segmenter.forget_last_frames()
    evaluation = evaluate(segmenter, clip, label_set, clip=True, progress=progress, on_frame=count)
    scores = evaluation_report(evaluation, label_set)
    del scores["seconds_per_frame"]
    return {"sampling": asdict(sampling), "warm_frames": warm_frames, **scores}


def _page(
    rows: Sequence[WarmRow],
    results: ResultRows,
    label_set: LabelSet,
    plot: str,
    settings: dict[str, Any],
    command: str,
) -> str:
    model, data = settings["model"], settings["data"]
    names = [label_class.name for label_class in label_set.classes]

    def line(row: WarmRow) -> list[str]:
        result = results[row.key]
        scores = [number(result[key], 4) for key in _COLUMNS.values()]
        return [row.name, str(row.sampling.steps), *scores, str(result["warm_frames"])]

    def classes(row: WarmRow) -> list[str]:
        per_class = results[row.key]["per_class_iou"]
        return [row.name, str(row.sampling.steps), *(number(per_class[name]) for name in names)]

    table = markdown_table(["start", "steps", *_COLUMNS, "warm frames"], map(line, rows))
    per_class = markdown_table(["start", "steps", *names], map(classes, rows))
    method = paragraph(f"""
        Model `{model["name"]}` (weights sha256 `{model["sha256"]}`, computed in {model["dtype"]})
        on the {data["frames"]} frames of {data["name"]} {data["split"]}, one clip, at the size of
        the labels; void is ignored. Sampler ddim without noise: a cold frame begins from zero at
        timestep {rows[0].sampling.start}. In a warm one the tokens whose picture differs from that
        before by less than {TOKEN_CHANGE:g} of 255 begin from the latents of the frame before,
        scaled to the timestep of the row, and the others as in a cold one. A frame is cold after a
        gap of more than {MAX_GAP:g} s in the stamps (these frames have none) and where the whole
        picture differs from the one before by {SCENE_CHANGE:g} of 255 or more. Flicker: share of
        the pixels whose label changes from a frame to the next though the true one stays, without
        motion compensation. `warm frames`: how many continued the one before.""")
    return f"""# Warm start over a clip

{command_block(command)}

{method}

![mIoU and flicker over the start]({plot})

{table}
IoU of each class:

{per_class}"""


def _plot(rows: Sequence[WarmRow], results: ResultRows, path: Path) -> None:
    figure = new_figure(10, 4.2)
    for axes, column in zip(figure.subplots(1, 2), ("mIoU", "flicker"), strict=True):
        for index, steps in enumerate(dict.fromkeys(row.sampling.steps for row in rows)):
            points = [
                (row.sampling.warm_start_time, results[row.key][_COLUMNS[column]])
                for row in rows
                if row.sampling.steps == steps and results[row.key][_COLUMNS[column]] is not None
            ]
            color = f"C{index}"
            warm = [point for point in points if point[0]]
            axes.plot(*zip(*warm, strict=True), marker="o", color=color, label=f"warm, {steps}")
            for _, cold in (point for point in points if not point[0]):
                axes.axhline(cold, color=color, linestyle="--", label=f"cold, {steps}")
        axes.set_xlabel("warm_start_time")
        axes.set_ylabel(column)
        axes.grid(alpha=0.3)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=6, title="steps"
    )
    save_figure(figure, path)
