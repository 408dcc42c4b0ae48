"""`camss-ros segment`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import check_folder, progress_row, warn_of_missing
from camss_ros.commands.segmenter_options import (
    DECODING,
    NETWORK,
    SAMPLING,
    SegmenterSpec,
    named_backend,
    segmenter_options,
    waiting_for_backend,
)


@segmenter_options(*NETWORK, *SAMPLING, *DECODING, backend="auto")
def segment(
    source: str = typer.Argument(
        ...,
        metavar="INPUT",
        help="Video, image, image folder (images/ and labels/ below it: scored), or synthetic.",
    ),
    output: Path = typer.Option(
        ...,
        help="Folder for masks/ (PNG of class ids), overlays/, summary.json, and overlay.mp4 of a "
        "video.",
    ),
    *,
    spec: SegmenterSpec,
    frames: Optional[int] = typer.Option(None, min=1, help="Only the first so many."),
) -> None:
    """Segment an image, an image folder or a video into files; run again, it goes on."""

    from camss_ros.evaluation.result_folder import fingerprint
    from camss_ros.evaluation.segment_files import segment_files
    from camss_ros.images.frames import open_frames_of_model
    from camss_ros.inference.segmenter_group import SegmenterGroup
    from camss_ros.model.checkpoint import find_config
    from camss_ros.street.calibration_scenes import CalibrationScenes

    check_folder(output)
    config = find_config(spec.model)
    opened = open_frames_of_model(source, config.label_set, config.name)
    if opened.endless and frames is None:
        raise ValueError("this input has no end: say by --frames how many are wanted")
    with waiting_for_backend():
        described = spec.describe()
        segmenters = SegmenterGroup(spec, CalibrationScenes())
    settings = {
        "input": source if opened.endless else str(Path(source).resolve()),
        "input_fingerprint": fingerprint(opened.files),
        **described,
    }
    total = min((n for n in (opened.length, frames) if n is not None), default=None)
    with closing(segmenters), progress_row("segmenting", total) as step:
        summary = segment_files(
            segmenters, opened, output, settings, frames, step, segmenters.at_a_time
        )
    typer.echo(f"{summary['frames']} frames in '{output}', by {named_backend(described)}")
    warn_of_missing(opened)
