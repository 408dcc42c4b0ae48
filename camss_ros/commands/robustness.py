"""`camss-ros robustness`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from camss_ros.commands.options import (
    DATA,
    LABEL_SET,
    ROOT,
    check_folder,
    command_line,
    counted_progress,
    fail,
)
from camss_ros.commands.segmenter_options import SAMPLING, segmenter_options
from camss_ros.extras import require

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec


@segmenter_options("model", *SAMPLING, "device", "precision")
def robustness(
    data: str = DATA,
    root: Path = ROOT,
    output: Path = typer.Option(..., help="Folder of scores, robustness.json and the page."),
    split: str = typer.Option("val", help="Split of the data set."),
    label_set: Optional[str] = LABEL_SET,
    every: int = typer.Option(1, min=1, help="Take every n-th frame."),
    *,
    spec: SegmenterSpec,
    twin: Optional[Path] = typer.Option(
        None, help="Its discriminative twin (`train twin`), scored on the same images."
    ),
    groups: str = typer.Option(
        "paper,imagenet_c,weather,viewpoint",
        help="Of paper, paper_scaled, imagenet_c, weather, viewpoint; separated by commas.",
    ),
    viewpoint_frames: int = typer.Option(
        40, min=1, help="Frames of the synthetic street for each viewpoint."
    ),
    page: Optional[Path] = typer.Option(
        None, help="Markdown page, plots beside it. Default: OUTPUT/robustness.md."
    ),
) -> None:
    """Score a model under corruptions, beside its twin (docs/robustness.md). Resumable."""
    import dataclasses

    require("matplotlib")
    from rich.console import Console

    from camss_ros.datasets.datasets import open_data
    from camss_ros.evaluation.evaluate import EveryNth
    from camss_ros.evaluation.result_folder import begin_results, finish_results
    from camss_ros.images.label_sets import load_label_set
    from camss_ros.lab.conditions import (
        GROUPS,
        data_conditions,
        viewpoint_conditions,
    )
    from camss_ros.lab.robustness import METRICS, SUMMARY_FILE, score_conditions, summarize
    from camss_ros.lab.robustness_page import write_robustness_page

    console = Console()
    chosen = tuple(name.strip() for name in groups.split(","))
    if unknown := [name for name in chosen if name not in GROUPS]:
        fail(f"no group {unknown[0]!r} of corruptions: expected some of {', '.join(GROUPS)}")
    specs = {"model": spec}
    if twin is not None:
        # only PyTorch runs a twin
        specs["twin"] = dataclasses.replace(spec, model=str(twin), backend="torch")
    check_folder(output)
    check_folder(output if page is None else page.parent)
    labelled = open_data(data, root, split, label_set)
    frames = EveryNth(labelled, every)
    conditions = {"data": (labelled.label_set, data_conditions(frames, chosen, spec.seed))}
    if "viewpoint" in chosen:
        street = load_label_set("camvid11")
        conditions["viewpoint"] = (street, viewpoint_conditions(viewpoint_frames))
    described = {role: each.describe() for role, each in specs.items()}
    settings = {
        "data": {"name": data, "root": str(root.resolve()), "split": split, "every": every},
        "label_set": labelled.label_set.name,
        "frames": len(frames),
        "groups": list(chosen),
        "viewpoint_frames": viewpoint_frames,
        "models": {
            role: {key: of["model"][key] for key in ("name", "sha256")}
            for role, of in described.items()
        },
        "precision": spec.precision,
        "sampling": described["model"]["sampling"],
    }
    summary = output / SUMMARY_FILE
    begin_results(summary, settings, ["scores"])
    rows = {}
    with counted_progress(console=console) as bar:
        count = sum(len(some) for _, some in conditions.values())
        for role, each in specs.items():
            task = bar.add_task(role, total=count)
            rows[role] = score_conditions(
                each.open, conditions, output / "scores" / role,
                partial(bar.advance, task),
            )  # fmt: skip
    summaries = {
        role: {metric: summarize(of, metric) for metric in METRICS} for role, of in rows.items()
    }
    results = {"summaries": summaries, "conditions": rows}
    finish_results(summary, settings, results)
    target = page or output / "robustness.md"
    plots = write_robustness_page(target, command_line(), _notes(settings), summaries)
    for path in (summary, target, *plots):
        console.print(f"wrote {path}", highlight=False)


def _notes(settings: dict[str, Any]) -> list[str]:
    data, sampling = settings["data"], settings["sampling"]
    notes = [
        f"Data: {data['name']} {data['split']}, {settings['frames']} frames, one in "
        f"{data['every']}, label set {settings['label_set']}."
    ]
    notes += [
        f"{role}: `{model['name']}`, SHA-256 of the weights {model['sha256'][:16]}."
        for role, model in settings["models"].items()
    ]
    notes.append(
        f"Sampling: {sampling['sampler']}, steps {sampling['steps']}, temperature "
        f"{sampling['temperature']:g}, samples {sampling['samples']}, seed {sampling['seed']}."
    )
    if "viewpoint" in settings["groups"]:
        notes.append(
            f"Viewpoints: {settings['viewpoint_frames']} frames of the synthetic street each, "
            "referred to the same places seen from the usual camera."
        )
    return notes
