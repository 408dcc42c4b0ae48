"""`camss-ros make-bag`."""

import re
from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import fail, progress_row, warn_of_missing
from camss_ros.extras import require


def make_bag(
    source: str = typer.Argument(
        ...,
        metavar="INPUT",
        help="Video, image folder (images/ and labels/ below it: with labels), or "
        "synthetic[:dusk|:fog].",
    ),
    output: Path = typer.Option(..., help="Folder of the bag; must not exist."),
    rate: float = typer.Option(
        0.0, min=0, max=1000, help="Frames a second; 0: the video's own stamps, 10 else."
    ),
    label_set: Optional[str] = typer.Option(
        None,
        help="Of the label images: a name (camvid11) or a YAML file. With a "
        "label_set.yaml in the folder, or beside a split: map them onto this one.",
    ),
    frames: Optional[int] = typer.Option(None, min=1, help="Only the first so many."),
    storage: str = typer.Option("mcap", help="mcap or sqlite3."),
    namespace: str = typer.Option("/camera", help="Of the topics."),
    jpeg: Optional[int] = typer.Option(
        None, min=1, max=100, metavar="QUALITY", help="CompressedImage (JPEG) instead of Image."
    ),
    depth: bool = typer.Option(False, "--depth", help="Also the depth, of the synthetic street."),
) -> None:
    """Write a video, image folder or labelled folder as a rosbag2, without ROS."""
    require("rosbags")

    from camss_ros.bags.make_bag import make_bag as make
    from camss_ros.images.frames import open_frames
    from camss_ros.images.label_sets import load_label_set

    if storage not in ("mcap", "sqlite3"):
        fail(f"storage {storage!r}: expected mcap or sqlite3")
    if not re.fullmatch("(/[A-Za-z_][A-Za-z0-9_]*)+", namespace):
        fail(
            f"namespace {namespace!r}: expected one of ROS, such as /front/camera: after each / "
            "letters, digits and _, no digit first"
        )
    labels = load_label_set(label_set) if label_set else None
    opened = open_frames(source, labels, with_labels=True)
    if depth and not opened.has_depth:
        fail(f"--depth: '{source}' knows no depth, synthetic does")
    opened.with_depth = depth
    total = min((n for n in (opened.length, frames) if n is not None), default=None)
    with progress_row("writing", total) as step:
        count = make(
            opened, output, rate or None, frames,
            storage=storage,  # type: ignore[arg-type]  # checked above
            namespace=namespace,
            jpeg=jpeg,
            on_frame=step,
        )  # fmt: skip
    typer.echo(f"{count} frames in '{output}'")
    warn_of_missing(opened)
