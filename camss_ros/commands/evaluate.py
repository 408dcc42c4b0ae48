"""`camss-ros evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import (
    DATA,
    LABEL_SET,
    ROOT,
    SPLIT,
    check_file,
    command_line,
    fail,
    progress_row,
    show,
)
from camss_ros.commands.segmenter_options import (
    DECODING,
    NETWORK,
    SAMPLING,
    SegmenterSpec,
    segmenter_options,
)
from camss_ros.extras import require


@segmenter_options(*NETWORK, *SAMPLING, *DECODING, "warm_start_time", "keyframe_interval")
def evaluate(
    data: str = DATA,
    root: Path = ROOT,
    split: str = SPLIT,
    label_set: Optional[str] = LABEL_SET,
    *,
    spec: SegmenterSpec,
    clip: bool = typer.Option(
        False, "--clip", help="The frames are one clip: report the labels' flicker."
    ),
    json_path: Optional[Path] = typer.Option(
        None, "--json", metavar="FILE", help="Write the scores to FILE."
    ),
    report_path: Optional[Path] = typer.Option(
        None,
        "--report",
        metavar="FILE",
        help="Write a page with numbers and pictures to FILE (.html), its numbers to .json.",
    ),
    robustness_path: Optional[Path] = typer.Option(
        None,
        "--robustness",
        metavar="FILE",
        help="The robustness.json that `camss-ros robustness` wrote for this model, for the "
        "report.",
    ),
) -> None:
    """Score a model on a labelled data set: IoU, boundary IoU, precision, recall, calibration."""

    from camss_ros.datasets.datasets import open_data
    from camss_ros.evaluation.evaluate import evaluate as score
    from camss_ros.evaluation.evaluate import evaluation_report
    from camss_ros.evaluation.formats import score_table
    from camss_ros.evaluation.part_results import CollectedResults
    from camss_ros.evaluation.report import RunMetadata, versions, write_report
    from camss_ros.evaluation.result_folder import write_json
    from camss_ros.lab.robustness import read_robustness
    from camss_ros.model.checkpoint import weights_hash
    from camss_ros.street.calibration_scenes import CalibrationScenes

    if report_path is not None:
        require("jinja2", "matplotlib")
        if json_path == report_path.with_suffix(".json"):
            fail(f"--json {json_path} is where the report's own numbers go: choose another name")
    if robustness_path is not None and report_path is None:
        fail("--robustness is for the report: name its file by --report")
    for option, used in (
        ("--warm-start-time", spec.sampling.warm_start_time > 0),
        ("--keyframe-interval", spec.keyframe_interval > 1),
    ):
        if used and not clip:
            fail(f"{option} needs --clip: frames that do not follow each other have no use of it")
    check_file(json_path)
    check_file(report_path, ".html")
    curves = None
    if robustness_path is not None:
        curves = read_robustness(robustness_path, weights_hash(spec.model))
    frames = open_data(data, root, split, label_set)
    segmenter = spec.open(CalibrationScenes())
    height, width = frames[0][0].shape[:2]
    segmenter.warm_up(height, width)
    title = f"{data} {split}"
    collected = CollectedResults(title, frames.label_set)
    with progress_row(title, len(frames)) as step:
        result = score(
            segmenter, frames, frames.label_set, clip=clip, progress=step,
            on_frame=collected.add if report_path else None,
        )  # fmt: skip
    scores = evaluation_report(result, frames.label_set)
    heading = f"{result.frames} frames, {result.seconds_per_frame:.3f} s a frame"
    share = result.accumulator.class_share(frames.label_set.classes)
    show(score_table(heading, share, scores))
    described = spec.describe()
    model = {**described["model"], "device": str(segmenter.device)}
    if report_path is not None:
        metadata = RunMetadata(
            title, command_line(), model, described["sampling"], robustness=curves
        )
        write_report(report_path, [collected.part(result.accumulator)], metadata)
        typer.echo(f"wrote {report_path}")
    if json_path is not None:
        content = {
            **scores,
            "data": {
                "name": data,
                "root": str(root),
                "split": split,
                "label_set": frames.label_set.name,
            },
            "model": {key: value for key, value in model.items() if key != "sha256"},
            "sampling": described["sampling"],
            "versions": versions(),
        }
        write_json(json_path, content)
        typer.echo(f"wrote {json_path}")
