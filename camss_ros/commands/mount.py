"""`camss-ros mount`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import progress_row
from camss_ros.commands.segmenter_options import NETWORK, SegmenterSpec, segmenter_options
from camss_ros.extras import require

if TYPE_CHECKING:
    import numpy as np

    from camss_ros.bags.bag_frames import BagFrame

_SURE = 1.0  # degrees, the largest error of a pitch that is worth having


@segmenter_options(*NETWORK)
def mount(
    bag: Path = typer.Argument(..., help="Recording of a drive along a straight road."),
    image: str = typer.Option(..., help="Image topic."),
    camera_info: str = typer.Option(..., help="Its calibration topic."),
    labels: Optional[str] = typer.Option(
        None, help="Topic of label images, in place of the model's; of its classes."
    ),
    label_set: Optional[str] = typer.Option(None, help="Of these labels, if not the model's."),
    drivable: list[str] = typer.Option(["road"], help="Class of the road; can be repeated."),
    rectified: bool = typer.Option(False, "--rectified", help="The images are: P projects."),
    every: int = typer.Option(5, min=1, help="Take every n-th image."),
    *,
    spec: SegmenterSpec,
) -> None:
    """Estimate pitch and roll of a camera from a drive, and how sure that is."""
    import math

    require("rosbags")

    from camss_ros.bags.bag import Bag
    from camss_ros.bags.bag_frames import BagFrames, BagSelection
    from camss_ros.evaluation.bag_geometry import read_camera
    from camss_ros.evaluation.evaluate_bag import label_values
    from camss_ros.evaluation.mount_drive import mount_of_drive
    from camss_ros.images.label_sets import LabelSet, load_label_set
    from camss_ros.model.checkpoint import find_config
    from camss_ros.projection.ground_classes import class_ids

    if label_set is not None and labels is None:
        raise ValueError("--label-set says how label images are numbered: give their --labels too")
    config = find_config(spec.model)
    own = load_label_set(label_set) if label_set is not None else None
    known = own or LabelSet(config.name, config.label_set)
    ids = class_ids(drivable, known, "--drivable")
    sky = [each.id for each in known.classes if each.name == "sky"]
    with Bag(bag) as opened:
        camera, _ = read_camera(opened, camera_info, rectified=rectified)
        selection = BagSelection(image, labels, every=every)
        values = label_values(opened, labels, config.label_set, own)
        frames = BagFrames(opened, selection, values)
        segmenter = spec.open() if labels is None else None
        with progress_row("frames", frames.expected) as step:

            def labeller(frame: BagFrame) -> np.ndarray | None:
                step()
                return frame.label if segmenter is None else segmenter.segment(frame.image).labels

            try:
                found = mount_of_drive(frames, camera, labeller, ids, sky)
            finally:
                for note in (*opened.warnings, *frames.faults.listed):
                    typer.echo(f"warning: {note}", err=True)
    degrees = math.degrees
    error = degrees(found.pitch_error)
    typer.echo(f"pitch {degrees(found.pitch):+.2f} +- {error:.2f} degrees down")
    if found.roll is None:
        typer.echo(
            "roll  not known, taken as 0: it takes both edges of the road, in several headings"
        )
    else:
        error = degrees(found.roll_error)
        typer.echo(f"roll  {degrees(found.roll):+.2f} +- {error:.2f} degrees to the right")
    typer.echo(f"from {found.frames} frames with {found.seen}")
    if degrees(found.pitch_error) > _SURE:
        typer.echo("too unsure to use: record a straight drive with both edges of the road in view")
        return
    pitch, roll = (round(degrees(angle), 2) for angle in (found.pitch, found.roll or 0.0))
    typer.echo(f"mount: [HEIGHT, {pitch}, {roll}]")
