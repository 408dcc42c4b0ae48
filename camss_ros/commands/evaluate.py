"""`camss-ros evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.checks import check_file
from camss_ros.commands.options import DATA, LABEL_SET, ROOT, command_line, fail, need
from camss_ros.commands.segmenter_options import DECODING, NETWORK, SAMPLING, segmenter_options

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec


@segmenter_options(*NETWORK, *SAMPLING, *DECODING, "warm_start_time")
def evaluate(
    data: str = DATA,
    root: Path = ROOT,
    split: str = typer.Option("val", help="Split of the data set."),
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
    import json

    from rich.console import Console
    from rich.progress import Progress

    from camss_ros.datasets.datasets import open_data
    from camss_ros.evaluation.evaluate import evaluate as score
    from camss_ros.evaluation.evaluate import report, score_table
    from camss_ros.evaluation.part_results import CollectedResults
    from camss_ros.evaluation.report import RunMetadata, write_report
    from camss_ros.evaluation.result_folder import write_atomically
    from camss_ros.lab.robustness import read_robustness
    from camss_ros.model.checkpoint import ModelError, weights_hash
    from camss_ros.street.calibration_scenes import CalibrationScenes

    console = Console()
    if report_path is not None:
        need("jinja2", "matplotlib")
        if json_path == report_path.with_suffix(".json"):
            fail(f"--json {json_path} is where the report's own numbers go: choose another name")
    if robustness_path is not None and report_path is None:
        fail("--robustness is for the report: name its file by --report")
    if spec.sampling.warm_start_time and not clip:
        fail(
            "--warm-start-time needs --clip: frames that do not follow each other have no use of it"
        )
    try:
        check_file(json_path)
        check_file(report_path, ".html")
        curves = None
        if robustness_path is not None:
            curves = read_robustness(robustness_path, weights_hash(spec.model))
        frames = open_data(data, root, split, label_set)
        segmenter = spec.open(CalibrationScenes())
        height, width = frames[0][0].shape[:2]
        segmenter.warm_up(height, width)
        collected = None
        if report_path is not None:
            collected = CollectedResults(f"{data} {split}", frames.label_set)
        with Progress(console=console) as bar:
            task = bar.add_task(f"{data} {split}", total=len(frames))
            result = score(
                segmenter, frames, frames.label_set, clip=clip,
                progress=lambda done: bar.update(task, completed=done),
                on_frame=collected.add if collected else None,
            )  # fmt: skip
    except (ModelError, OSError, ValueError) as error:
        fail(error)
    console.print(score_table(result, frames.label_set))
    described = spec.describe()
    model = {**described["model"], "device": str(segmenter.device)}
    if report_path is not None and collected is not None:
        metadata = RunMetadata(
            title=f"{data} {split}",
            command=command_line(),
            model=model,
            sampling=described["sampling"],
            robustness=curves,
        )
        try:
            write_report(report_path, [collected.part(result.accumulator)], metadata)
        except OSError as error:
            fail(error)
        console.print(f"wrote {report_path}", highlight=False)
    if json_path is not None:
        content = report(
            result, frames.label_set,
            data={"name": data, "root": str(root), "split": split},
            model={key: value for key, value in model.items() if key != "sha256"},
            sampling=described["sampling"],
        )  # fmt: skip
        try:
            write_atomically(json_path, (json.dumps(content, indent=2) + "\n").encode())
        except OSError as error:
            fail(error)
        console.print(f"wrote {json_path}", highlight=False)
