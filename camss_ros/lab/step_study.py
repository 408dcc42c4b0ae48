"""How many sampling steps, of which sampler, a segmentation needs.

page        the tables, a name that ends in .md
page.json   the scores of every row, stored as they come: a stopped study goes on
page.png    mIoU and calibration over the number of steps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from camss_ros.evaluation.boundary import DILATION_RATIO
from camss_ros.evaluation.metrics import BINS
from camss_ros.lab.sampling_study import SamplingStudy, StudyRow
from camss_ros.lab.study_output import ResultRows, paragraph, score_panels, write_page
from camss_ros.model.schedule import SamplingOptions

STEPS = (1, 2, 4, 8, 25, 100)
ITERATIONS = (1, 8, 32)
_SAMPLES = 8  # of an averaged row
_STEPS_OF_ITERATION = 4
_COLUMNS = {
    "mIoU": "miou",
    "boundary IoU": "boundary_iou",
    "precision_void_excluded": "precision_void_excluded",
    "pixel accuracy": "pixel_accuracy",
    "ECE": "expected_calibration_error",
}

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


def step_rows() -> list[StudyRow]:
    """Every sampler with every number of steps."""
    return [
        _row((name, str(count)), replace(sampling, steps=count))
        for name, sampling in SAMPLINGS.items()
        for count in STEPS
    ]


def iteration_rows() -> list[StudyRow]:
    """One-pass and iterative decoding, most confident tokens first, from zero and from noise."""
    return [
        _row((name, str(count)), replace(sampling, steps=_STEPS_OF_ITERATION, iterations=count))
        for name, sampling in SAMPLINGS.items()
        if sampling.sampler == "ddim" and sampling.samples == 1
        for count in ITERATIONS
    ]


def _row(cells: tuple[str, ...], s: SamplingOptions) -> StudyRow:
    key = (
        f"{s.sampler} steps={s.steps} temperature={s.temperature} samples={s.samples} "
        f"iterations={s.iterations}"
    )
    return StudyRow(cells, key, s)


def study_steps(study: SamplingStudy) -> None:
    """Score every row and write the page, going on where an earlier run stopped.

    Raises as `SamplingStudy.score`.
    """
    by_steps, by_iterations = step_rows(), iteration_rows()
    results = study.score([*by_steps, *by_iterations])
    _plot(by_steps, results, study.plot)
    scores, per_class = study.tables(["sampling", "steps"], by_steps, results, _COLUMNS)
    iteration_scores, iteration_classes = study.tables(
        ["sampling", "iterations"], by_iterations, results, _COLUMNS
    )
    method = paragraph(f"""
        {study.describe()} Boundary IoU: dilation ratio {DILATION_RATIO}. ECE: expected
        calibration error of the confidence, {BINS} bins. `precision_void_excluded` is the paper's
        "AP", which does not see false negatives. All samplers start at timestep
        {by_steps[0].sampling.start}.""")
    iterative = paragraph(f"""
        One-pass against iterative decoding (paper section 3.2), {_STEPS_OF_ITERATION} steps an
        iteration, the surest tokens first:""")
    write_page(
        study.page, "Sampling steps and samplers", study.command, method,
        f"![mIoU and calibration over the number of steps]({study.plot.name})", scores,
        iterative, iteration_scores, "IoU of each class:", per_class, iteration_classes,
    )  # fmt: skip


def _plot(rows: Sequence[StudyRow], results: ResultRows, path: Path) -> None:
    ticks = sorted({row.sampling.steps for row in rows})
    with score_panels(path, ("mIoU", "ECE"), "sampling steps", columns=3) as panels:
        for score, axes in panels:
            for name in SAMPLINGS:
                of_name = [row for row in rows if row.cells[0] == name]
                points = [
                    (row.sampling.steps, results[row.key][_COLUMNS[score]]) for row in of_name
                ]
                known = [(x, y) for x, y in points if y is not None]
                axes.plot([x for x, _ in known], [y for _, y in known], marker="o", label=name)
            axes.set_xscale("log")
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
