"""`camss-ros pick`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import check_folder, command_line, counted_progress
from camss_ros.commands.segmenter_options import NETWORK, SegmenterSpec, segmenter_options
from camss_ros.extras import require


@segmenter_options(*NETWORK, "seed")
def pick(
    sources: list[Path] = typer.Argument(
        ...,
        metavar="SOURCES...",
        help="Bags, videos and folders of images.",
        show_default=False,
    ),
    output: Path = typer.Option(..., help="Folder for frames, prelabels and report."),
    count: int = typer.Option(200, min=1, help="Frames to pick."),
    image: Optional[list[str]] = typer.Option(
        None, metavar="TOPIC", help="Of the bags; once for each camera. Default: the only one."
    ),
    interval: float = typer.Option(
        1.0, min=0, max=1e6, help="Seconds between two frames of a drive, at least."
    ),
    random_share: float = typer.Option(
        0.2, min=0, max=1, help="Of the count, drawn at random: for an unbiased score."
    ),
    label_set: Optional[str] = typer.Option(
        None,
        help="Of the prelabels, with a mapping from the model's: a name or a YAML file. "
        "Default: the model's.",
    ),
    *,
    spec: SegmenterSpec,
) -> None:
    """Pick the frames of bags, videos and folders worth labelling; run again, it goes on."""
    require("jinja2")
    from collections import Counter

    from camss_ros.atomic_files import locked
    from camss_ros.datasets.picking.candidates import CANDIDATES_FILE, score_candidates
    from camss_ros.datasets.picking.drives import open_drives
    from camss_ros.datasets.picking.frame_scores import FrameScorer
    from camss_ros.datasets.picking.pick_folder import FOLDERS, PICK_FILE, save_picks
    from camss_ros.datasets.picking.selection import select
    from camss_ros.evaluation.pick_report import write_pick_report
    from camss_ros.evaluation.result_folder import begin_results, fingerprint, finish_results
    from camss_ros.images.label_mapping import label_set_of, map_classes
    from camss_ros.images.label_sets import load_label_set, save_label_set
    from camss_ros.model.checkpoint import find_config
    from camss_ros.street.calibration_scenes import CalibrationScenes

    check_folder(output)
    config = find_config(spec.model)
    mapping = map_classes(config.label_set, config.name, label_set or "")
    labels = load_label_set(label_set) if label_set else None
    labels = labels or label_set_of(config.label_set, config.name)
    drives = open_drives(sources, image or ())
    settings = {
        "sources": [str(drive.source.resolve()) for drive in drives],
        "topics": [drive.topic for drive in drives],
        "files_fingerprint": [fingerprint(drive.files) for drive in drives],
        "count": count,
        "interval": interval,
        "random_share": random_share,
        "label_set": label_set,
        "label_set_sha256": labels.sha256,
        **spec.describe(),
    }
    lengths = [drive.length for drive in drives if drive.length is not None]
    total = sum(lengths) if len(lengths) == len(drives) else None
    with locked(output), counted_progress() as bar:
        begin_results(output / PICK_FILE, settings, FOLDERS, [CANDIDATES_FILE])
        save_label_set(labels, output / "label_set.yaml")
        segmenter = spec.open(CalibrationScenes())
        reading = bar.add_task("looking", total=total)
        candidates = score_candidates(
            drives, FrameScorer(segmenter), interval, output / CANDIDATES_FILE,
            lambda: bar.advance(reading),
        )  # fmt: skip
        picks = select(candidates, count, random_share, spec.seed)
        writing = bar.add_task("writing", total=len(picks))
        frames = save_picks(
            drives, candidates, picks,
            lambda picture: mapping.apply(segmenter.segment(picture).labels),
            output, lambda: bar.advance(writing),
        )  # fmt: skip
        looked_at = Counter(candidate.drive for candidate in candidates)
        taken = Counter(frame["drive"] for frame in frames)
        result = {
            "candidates": len(candidates),
            "drives": {
                drive: {"candidates": number, "picked": taken[drive]}
                for drive, number in looked_at.items()
            },
            "frames": frames,
        }
        drawing = bar.add_task("drawing", total=len(picks))
        write_pick_report(output, result, labels, command_line(), lambda: bar.advance(drawing))
        finish_results(output / PICK_FILE, settings, result)
    for drive in drives:
        for problem in drive.problems:
            typer.echo(f"warning: {problem}", err=True)
    at_random = sum(frame["why"] == "random" for frame in frames)
    typer.echo(
        f"{len(frames)} frames of {len(candidates)} in '{output}', {at_random} of them at random"
    )
    if len(frames) < min(count, len(candidates)):
        typer.echo("the others are near-duplicates of these")
