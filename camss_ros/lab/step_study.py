"""How many sampling steps, of which sampler, a segmentation needs.

output/steps.json   the scores of every row, stored as they come: a stopped study goes on
output/steps.md     the tables
output/steps.png    mIoU and calibration over the number of steps
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from camss_ros.evaluation.boundary import DILATION_RATIO
from camss_ros.evaluation.evaluate import LabeledFrames, evaluate, evaluation_report
from camss_ros.evaluation.formats import number
from camss_ros.evaluation.reliability import BINS
from camss_ros.evaluation.result_folder import write_atomically
from camss_ros.images.label_sets import LabelSet
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.page import (
    command_block,
    markdown_table,
    new_figure,
    paragraph,
    save_figure,
)
from camss_ros.lab.result_rows import ResultRows
from camss_ros.model.schedule import SamplingOptions

STEPS = (1, 2, 4, 8, 25, 100)
ITERATIONS = (1, 4, 8)
_SAMPLES = 8  # of an averaged row
_STEPS_OF_ITERATION = 4

# Without its noise the ancestral sampler is another one, so that it has no zero start.
SAMPLINGS: Mapping[str, SamplingOptions] = {
    "ddim, zero start": SamplingOptions(sampler="ddim", temperature=0.0),
    "dpm++2m, zero start": SamplingOptions(sampler="dpm++2m", temperature=0.0),
    "ddim, noise start, 1 sample": SamplingOptions(sampler="ddim", temperature=1.0),
    f"ddim, noise start, mean of {_SAMPLES}": SamplingOptions(
        sampler="ddim", temperature=1.0, samples=_SAMPLES
    ),
    "ddpm (ancestral), 1 sample": SamplingOptions(sampler="ddpm", temperature=1.0),
    f"ddpm (ancestral), mean of {_SAMPLES}": SamplingOptions(
        sampler="ddpm", temperature=1.0, samples=_SAMPLES
    ),
}


@dataclass(frozen=True)
class StudyRow:
    """One row of the study: `name` and number of steps or iterations, and how latents are drawn."""

    name: str
    count: int
    sampling: SamplingOptions

    @property
    def key(self) -> str:
        """Names what is computed: rows of the same sampling are computed once."""
        s = self.sampling
        return (
            f"{s.sampler} steps={s.steps} temperature={s.temperature} samples={s.samples} "
            f"iterations={s.iterations}"
        )


def step_rows(steps: Sequence[int] = STEPS) -> list[StudyRow]:
    """Every sampler with every number of steps."""
    return [
        StudyRow(name, count, replace(sampling, steps=count))
        for name, sampling in SAMPLINGS.items()
        for count in steps
    ]


def iteration_rows(iterations: Sequence[int] = ITERATIONS) -> list[StudyRow]:
    """One-pass and iterative decoding, most confident tokens first."""
    start = replace(SAMPLINGS["ddim, zero start"], steps=_STEPS_OF_ITERATION)
    return [StudyRow("iterations", count, replace(start, iterations=count)) for count in iterations]


def study_steps(
    segmenter: Segmenter,
    frames: LabeledFrames,
    label_set: LabelSet,
    output: Path,
    settings: dict[str, Any],
    command: str,
    *,
    steps: Sequence[int] = STEPS,
    iterations: Sequence[int] = ITERATIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Score every row on `frames` and write the results to `output`, going on where it stopped.

    Args:
        segmenter: whose `sampling` is set row by row.
        settings: what the scores depend on beside the rows, JSON-able. Its `model` has `name`,
            `sha256` and `dtype`, its `data` has `name`, `split` and `frames`; the page says them.
        command: as the page shows it.
        steps, iterations: of the rows.
        progress: told the frames done and their number, over all rows.

    Raises ValueError where model and data have different classes, OutputMismatchError where
    `output` holds the results of other settings, OSError where it can't be written.
    """
    by_steps, by_iterations = step_rows(steps), iteration_rows(iterations)
    samplings = {row.key: row.sampling for row in (*by_steps, *by_iterations)}
    results = ResultRows(output / "steps.json", settings)

    def score(sampling: SamplingOptions, frame_done: Callable[[int], None]) -> dict[str, Any]:
        segmenter.sampling = sampling
        evaluation = evaluate(segmenter, frames, label_set, progress=frame_done)
        scores = evaluation_report(evaluation, label_set)
        del scores["seconds_per_frame"], scores["flicker"]
        return {"sampling": asdict(sampling), **scores}

    results.score_each(samplings, len(frames), score, progress)
    _plot(by_steps, results, output / "steps.png")
    page = _page(by_steps, by_iterations, results, label_set, settings, command)
    write_atomically(output / "steps.md", page.encode())


_COLUMNS = {
    "mIoU": "miou",
    "boundary IoU": "boundary_iou",
    "precision_void_excluded": "precision_void_excluded",
    "pixel accuracy": "pixel_accuracy",
    "ECE": "expected_calibration_error",
}


def _page(
    by_steps: Sequence[StudyRow],
    by_iterations: Sequence[StudyRow],
    results: ResultRows,
    label_set: LabelSet,
    settings: dict[str, Any],
    command: str,
) -> str:
    model, data = settings["model"], settings["data"]
    names = [label_class.name for label_class in label_set.classes]

    def scores(row: StudyRow) -> list[str]:
        return [number(results[row.key][key]) for key in _COLUMNS.values()]

    def classes(row: StudyRow) -> list[str]:
        return [number(results[row.key]["per_class_iou"][name]) for name in names]

    steps = markdown_table(
        ["sampling", "steps", *_COLUMNS],
        [[row.name, str(row.count), *scores(row)] for row in by_steps],
    )
    iterations = markdown_table(
        ["iterations", *_COLUMNS], [[str(row.count), *scores(row)] for row in by_iterations]
    )
    per_class = markdown_table(
        ["sampling", "steps", *names],
        [[row.name, str(row.count), *classes(row)] for row in by_steps],
    )
    per_class_iterations = markdown_table(
        ["iterations", *names], [[str(row.count), *classes(row)] for row in by_iterations]
    )
    method = paragraph(f"""
        Model `{model["name"]}` (weights sha256 `{model["sha256"]}`, computed in {model["dtype"]})
        on {data["frames"]} frames of {data["name"]} {data["split"]}, at the size of the labels;
        void is ignored. Boundary IoU: dilation ratio {DILATION_RATIO}. ECE: expected calibration
        error of the confidence, {BINS} bins. `precision_void_excluded` is the paper's "AP", which
        does not see false negatives. All samplers start at timestep
        {by_steps[0].sampling.start}.""")
    return f"""# Sampling steps and samplers

{command_block(command)}

{method}

![mIoU and calibration over the number of steps](steps.png)

{steps}
One-pass against iterative decoding, ddim from zero, {_STEPS_OF_ITERATION} steps an iteration, the
surest tokens first:

{iterations}
IoU of each class:

{per_class}
{per_class_iterations}"""


def _plot(rows: Sequence[StudyRow], results: ResultRows, path: Path) -> None:
    figure = new_figure(10, 4.2)
    panels = zip(figure.subplots(1, 2), ("mIoU", "ECE"), strict=True)
    for axes, column in panels:
        for name in SAMPLINGS:
            points = [
                (row.count, results[row.key][_COLUMNS[column]]) for row in rows if row.name == name
            ]
            known = [(x, y) for x, y in points if y is not None]
            axes.plot([x for x, _ in known], [y for _, y in known], marker="o", label=name)
        axes.set_xscale("log")
        ticks = sorted({row.count for row in rows})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("sampling steps")
        axes.set_ylabel(column)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)
