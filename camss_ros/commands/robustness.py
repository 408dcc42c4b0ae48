"""`camss-ros robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import typer

from camss_ros.commands.options import (
    DATA,
    LABEL_SET,
    ROOT,
    SPLIT,
    check_folder,
    check_page,
    command_line,
    fail,
    progress_row,
)
from camss_ros.commands.segmenter_options import (
    SAMPLING,
    TWIN,
    SegmenterSpec,
    scored_model,
    segmenter_options,
    with_twin,
)
from camss_ros.extras import require


@segmenter_options("model", *SAMPLING, "device", "precision")
def robustness(
    data: str = DATA,
    root: Path = ROOT,
    output: Path = typer.Option(..., help="Folder of scores, robustness.json and the page."),
    split: str = SPLIT,
    label_set: Optional[str] = LABEL_SET,
    every: int = typer.Option(1, min=1, help="Take every n-th frame."),
    *,
    spec: SegmenterSpec,
    twin: Optional[Path] = TWIN,
    groups: str = typer.Option(
        "paper,imagenet_c,weather,viewpoint",
        show_default="all but paper_scaled",  # rich cuts a word off that is as long
        help="Of paper, paper_scaled, imagenet_c, weather, viewpoint; separated by commas.",
    ),
    viewpoint_frames: int = typer.Option(
        40, min=1, help="Frames of the synthetic street for each viewpoint."
    ),
    page: Optional[Path] = typer.Option(
        None, help="The page (.md), plots beside it. Default: OUTPUT/robustness.md."
    ),
) -> None:
    """Score a model under corruptions, beside its twin (docs/robustness.md). Resumable."""
    require("matplotlib")
    from camss_ros.evaluation.evaluate import class_table, open_labelled
    from camss_ros.evaluation.result_folder import begin_results, fingerprint, finish_results
    from camss_ros.images.label_sets import load_label_set
    from camss_ros.lab.conditions import GROUPS, data_conditions, viewpoint_conditions
    from camss_ros.lab.robustness import METRICS, SUMMARY_FILE, score_conditions, summarize
    from camss_ros.lab.robustness_page import write_robustness_page
    from camss_ros.model.checkpoint import find_config

    chosen = tuple(name.strip() for name in groups.split(","))
    if unknown := [name for name in chosen if name not in GROUPS]:
        fail(f"no group {unknown[0]!r} of corruptions: expected some of {', '.join(GROUPS)}")
    specs = with_twin(spec, twin)
    check_folder(output)
    target = page or output / "robustness.md"
    check_page(target)
    labelled = open_labelled(data, root, split, label_set, every)
    conditions = [(labelled.label_set, data_conditions(labelled.frames, chosen, spec.seed))]
    if "viewpoint" in chosen:
        conditions.append((load_label_set("camvid11"), viewpoint_conditions(viewpoint_frames)))
    for each in specs.values():
        config = find_config(each.model)
        for known, _ in conditions:  # raises now, not after hours
            class_table(config.label_set, config.name, known)
    settings = {
        "data": {
            "name": data,
            "root": str(root.resolve()),
            "split": split,
            "every": every,
            "files_fingerprint": fingerprint(labelled.files),
        },
        "label_set": labelled.label_set.name,
        "frames": len(labelled.frames),
        "groups": list(chosen),
        "viewpoint_frames": viewpoint_frames,
        "models": {role: scored_model(each) for role, each in specs.items()},
        "precision": spec.precision,
        "sampling": spec.describe()["sampling"],
    }
    summary = output / SUMMARY_FILE
    begin_results(summary, settings, ["scores"])
    rows = {}
    for role, each in specs.items():
        with progress_row(role) as step:
            rows[role] = score_conditions(each.open, conditions, output / "scores" / role, step)
    summaries = {
        role: {metric: summarize(of, metric) for metric in METRICS} for role, of in rows.items()
    }
    finish_results(summary, settings, {"summaries": summaries, "conditions": rows})
    plots = write_robustness_page(target, command_line(), _notes(settings), summaries)
    for path in (summary, target, *plots):
        typer.echo(f"wrote {path}")


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
