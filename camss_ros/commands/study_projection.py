"""`camss-ros study projection`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from camss_ros.commands.options import check_folder, command_line, progress_row
from camss_ros.commands.segmenter_options import SegmenterSpec, scored_model, segmenter_options

if TYPE_CHECKING:
    import numpy as np


@segmenter_options("model", "seed", "device", "precision", "backend")
def projection(
    output: Path = typer.Option(..., help="Folder of page and JSON."),
    frames: int = typer.Option(20, min=1, help="Frames of the synthetic street, of many streets."),
    *,
    spec: SegmenterSpec,
) -> None:
    """Clouds and grids of the synthetic street from true and generated masks, and their time."""
    from camss_ros.images.label_mapping import map_classes
    from camss_ros.lab.projection_page import write_projection_page
    from camss_ros.lab.projection_study import measure, score, true_labels

    check_folder(output)
    numbers = [(seed, 15 * (seed % 8)) for seed in range(frames)]
    times = measure()
    segmenter, model = spec.open(), scored_model(spec)
    mapping = map_classes(segmenter.classes, segmenter.model_name, "camvid11")
    with progress_row("generated masks", frames) as step:

        def generated(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            result = segmenter.segment(image)
            step()
            return mapping.apply(result.labels), result.confidence

        scores = {"true masks": score(true_labels, numbers)}
        scores[f"masks of {model['name']}"] = score(generated, numbers)
    for path in write_projection_page(output, command_line(), model, frames, scores, times):
        typer.echo(f"wrote {path}")
