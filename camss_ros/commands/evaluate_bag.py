"""`camss-ros evaluate-bag`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from camss_ros.commands.options import check_folder, command_line, counted_progress, fail, show
from camss_ros.commands.segmenter_options import (
    NETWORK,
    SAMPLING,
    SegmenterSpec,
    named_backend,
    segmenter_options,
    waiting_for_backend,
)
from camss_ros.extras import require

if TYPE_CHECKING:
    from rich.table import Table

    from camss_ros.bags.bag_frames import BagSelection
    from camss_ros.evaluation.bag_batch import Outcome
    from camss_ros.evaluation.bag_points import PointSelection
    from camss_ros.evaluation.bag_run import BagTask
    from camss_ros.evaluation.evaluate_bag import RunProgress


@segmenter_options(*NETWORK, *SAMPLING, "iterations", "order", backend="auto")
def evaluate_bag(
    bags: list[Path] = typer.Argument(
        ...,
        metavar="BAG...",
        help="rosbag2 folders, .mcap or .db3 files, ROS 1 bags, or folders of bags.",
        show_default=False,
    ),
    image: list[str] = typer.Option(
        ..., metavar="TOPIC", help="Image or CompressedImage; once for each camera."
    ),
    output: Path = typer.Option(..., help="Folder for masks, video, metrics and report."),
    labels: Optional[list[str]] = typer.Option(
        None,
        metavar="TOPIC",
        help="Label images: class ids, 8 bit, one channel. One for each --image, in their "
        "order; - for a camera without.",
    ),
    label_set: Optional[str] = typer.Option(
        None, help="Of the labels: a name (camvid11) or a YAML file. Default: the model's."
    ),
    tolerance: float = typer.Option(
        0.0, min=0, help="Seconds between the stamps of an image and its label or points, at most."
    ),
    depth: Optional[list[str]] = typer.Option(
        None,
        metavar="TOPIC",
        help="Depth images, registered to the camera (16UC1 or 32FC1): also score their points. "
        "One for each --image; - for a camera without.",
    ),
    lidar: Optional[str] = typer.Option(
        None, metavar="TOPIC", help="Clouds (PointCloud2): also score the points in view."
    ),
    camera_info: Optional[list[str]] = typer.Option(
        None,
        metavar="TOPIC",
        help="Calibrations for --depth and --lidar, one for each --image. Default: camera_info "
        "beside it.",
    ),
    lidar_to_camera: Optional[list[str]] = typer.Option(
        None,
        metavar="X,Y,Z,QX,QY,QZ,QW",
        help="Takes points of the lidar into the optical frame, one for each --image. Default: "
        "by the bag's /tf_static.",
    ),
    rectified: bool = typer.Option(
        False, "--rectified", help="The images are: P of the calibration projects."
    ),
    every: int = typer.Option(1, min=1, help="Take every n-th image."),
    start: float = typer.Option(0.0, min=0, help="Seconds after the bag's beginning."),
    duration: Optional[float] = typer.Option(
        None, min=0, help="Seconds from there on. Default: to the end."
    ),
    frames: Optional[Path] = typer.Option(
        None,
        metavar="FILE",
        help="Take only the frames that a frames.jsonl lists, by their stamps: those that came "
        "back in a replay.",
    ),
    write_bag: bool = typer.Option(
        False, "--write-bag", help="Also write OUTPUT/bag: the bag with the masks."
    ),
    workers: int = typer.Option(1, min=1, help="Processes for several bags, a bag each."),
    ray: Optional[str] = typer.Option(
        None,
        metavar="ADDRESS",
        help="On a Ray cluster instead, a folder for each bag: local, auto or HOST:PORT.",
    ),
    *,
    spec: SegmenterSpec,
    start_timestep: int = typer.Option(
        950, "--first-timestep", help="First timestep of sampling, 1 to 999."
    ),
) -> None:
    """Segment bags into masks, videos, scores and a report; run again, it goes on."""
    import dataclasses

    require("rosbags", "mcap", "jinja2", "matplotlib", *(["ray"] if ray is not None else []))
    from camss_ros.bags.bag_frames import BagSelection
    from camss_ros.bags.bag_paths import bag_names, find_bags, is_single_bag
    from camss_ros.evaluation.bag_run import BagTask

    check_folder(output)
    if len(set(image)) < len(image):
        raise ValueError(f"a topic is named twice: --image {' --image '.join(image)}")
    cameras = tuple(
        BagSelection(topic, label, tolerance, every, start, duration)
        for topic, label in zip(image, _for_each("--labels", labels, len(image)), strict=True)
    )
    points = _points(cameras, depth, lidar, camera_info, lidar_to_camera, rectified)
    sampling = dataclasses.replace(spec.sampling, start=start_timestep)
    chosen = dataclasses.replace(spec, sampling=sampling)
    one = len(bags) == 1 and is_single_bag(bags[0], output) and ray is None
    found = bags if one else find_bags(bags, output)
    with waiting_for_backend():
        described = chosen.describe()  # refuses a model that can't be read, before any bag

    def task(bag: Path, folder: Path) -> BagTask:
        return BagTask(
            bag, folder, cameras, label_set, chosen, write_bag, command_line(), frames, points
        )  # fmt: skip

    if one:
        _one_bag(task(bags[0], output), described)
    else:
        tasks = [task(b, output / name) for b, name in zip(found, bag_names(found), strict=True)]
        _evaluate_batch(tasks, described, output, workers, ray)


def _for_each(option: str, values: list[str] | None, images: int) -> list[str | None]:
    """One value for each --image, None for -, and where there is none at all."""
    if values and len(values) != images:
        raise ValueError(
            f"{len(values)} {option} for {images} --image: expected one for each, in their "
            "order, and - for a camera without"
        )
    return [None if value == "-" else value for value in values or ["-"] * images]


def _points(
    cameras: Sequence[BagSelection],
    depth: list[str] | None,
    lidar: str | None,
    camera_info: list[str] | None,
    lidar_to_camera: list[str] | None,
    rectified: bool,
) -> dict[str, PointSelection]:
    """By image topic, for the cameras that have points and labels."""
    from camss_ros.bags.bag_types import beside
    from camss_ros.evaluation.bag_points import PointSelection

    if lidar is None and (lidar_to_camera or (not depth and (camera_info or rectified))):
        raise ValueError(
            "--lidar-to-camera needs --lidar, and --camera-info and --rectified need it or --depth"
        )
    if not depth and lidar is None:
        return {}
    count = len(cameras)
    depths_of = _for_each("--depth", depth, count)
    chosen = zip(
        cameras,
        depths_of,
        _for_each("--camera-info", camera_info, count),
        _for_each("--lidar-to-camera", lidar_to_camera, count),
        strict=True,
    )
    points = {
        camera.image: PointSelection(
            info or beside(camera.image, "camera_info"), depths, lidar,
            None if numbers is None else _transform(numbers), rectified,
        )
        for camera, depths, info, numbers in chosen
        if camera.labels is not None and (depths is not None or lidar is not None)
    }  # fmt: skip
    unscored = any(d and not c.labels for c, d in zip(cameras, depths_of, strict=True))
    if unscored or not points:
        raise ValueError(
            "--depth and --lidar are scored against label images: give --labels for their camera"
        )
    return points


def _transform(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.strip("[] ").split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 7:
        raise ValueError(
            f"--lidar-to-camera {text!r}: expected x, y, z in metres and a quaternion x, y, z, w, "
            "seven numbers with commas between them"
        )
    return numbers


def _one_bag(task: BagTask, described: dict[str, Any]) -> None:
    import json

    from camss_ros.evaluation.bag_run import run_bag
    from camss_ros.evaluation.evaluate_bag import METRICS_FILE
    from camss_ros.evaluation.part_results import notes_of

    with counted_progress() as bar:
        notes = run_bag(task, progress=_bars(bar, len(task.cameras) > 1))
    for topic, folder in task.folders().items():
        metrics = json.loads((folder / METRICS_FILE).read_text())
        _print_scores(topic, metrics)
        notes = [*notes_of(metrics), *notes]
    for note in notes:
        typer.echo(f"warning: {note}", err=True)
    typer.echo(
        f"by {named_backend(described)}: wrote masks, overlay.mp4, {METRICS_FILE} and report.html "
        f"to '{task.output}'"
    )


def _evaluate_batch(
    tasks: list[BagTask],
    described: dict[str, Any],
    output: Path,
    workers: int,
    ray: str | None,
) -> None:
    """Every bag into its own folder, and one report on all. Ends with 1 where any failed."""

    from camss_ros.evaluation.bag_batch import run_batch, run_batch_on_ray
    from camss_ros.evaluation.bag_run import REPORT_FILE, read_parts
    from camss_ros.evaluation.report import RunMetadata, write_report

    output.mkdir(parents=True, exist_ok=True)
    reasons: dict[int, str] = {}
    warnings: list[str] = []
    with counted_progress() as bar:
        row = bar.add_task("bags", total=len(tasks))

        def on_done(number: int, outcome: Outcome) -> None:
            reason, notes = outcome
            if reason is not None:
                reasons[number] = reason
            warnings.extend(f"'{tasks[number].bag}': {note}" for note in notes)
            bar.advance(row)

        if ray is None:
            run_batch(tasks, workers, on_done)
        else:
            run_batch_on_ray(tasks, ray, on_done)
    for warning in sorted(warnings):
        typer.echo(f"warning: {warning}", err=True)
    parts = []
    for number, task in enumerate(tasks):
        if number in reasons:
            continue
        try:
            parts += read_parts(task, task.output.name)
        except (OSError, ValueError, KeyError) as error:
            reasons[number] = f"its results can't be read: {error}"
    failed = [
        {"bag": str(tasks[number].bag), "reason": reason} for number, reason in reasons.items()
    ]
    for failure in failed:
        typer.echo(f"failed: {failure['bag']}: {failure['reason']}", err=True)
    if not parts:
        fail(f"not one of {len(tasks)} bags could be evaluated")
    metadata = RunMetadata(
        title=f"{len(tasks)} bags",
        command=tasks[0].command,
        model=described["model"],
        sampling=described["sampling"],
        failed=sorted(failed, key=lambda failure: failure["bag"]),
        bags=len(tasks) - len(failed),
    )
    numbers = write_report(output / REPORT_FILE, parts, metadata)
    _print_scores(f"{metadata.bags} of {len(tasks)} bags", numbers["total"])
    typer.echo(
        f"by {named_backend(described)}: wrote {REPORT_FILE} and a folder for each bag to "
        f"'{output}'"
    )
    if failed:
        raise typer.Exit(1)


def _print_scores(name: str, metrics: dict[str, Any]) -> None:

    from camss_ros.evaluation.formats import point_table

    show(bag_table(name, metrics))
    for kind, found in metrics["points"].items():
        show(point_table(f"points of {kind}, clouds: {found['clouds']}", found))


def _bars(bar: Any, several: bool) -> RunProgress:
    """The progress of a run as bars."""
    from camss_ros.evaluation.evaluate_bag import RunProgress

    class Bars(RunProgress):
        def __init__(self) -> None:
            self._written: Any = None

        def camera(self, topic: str) -> None:
            of = f" {topic}" if several else ""
            self._reading = bar.add_task(f"reading stamps{of}", total=None)
            self._segmenting = bar.add_task(f"segmenting{of}", total=None)
            self._messages = 0

        def reading(self) -> None:
            self._messages += 1
            bar.update(self._reading, completed=self._messages)

        def expecting(self, frames: int) -> None:
            bar.update(self._reading, total=self._messages)
            bar.update(self._segmenting, total=frames)

        def segmented(self) -> None:
            bar.advance(self._segmenting)

        def writing(self) -> None:
            if self._written is None:
                self._written = bar.add_task("writing the bag", total=None)
            bar.advance(self._written)

    return Bars()


def bag_table(name: str, metrics: dict[str, Any]) -> Table:
    """What was found in a bag, as metrics.json and the report say it."""
    from camss_ros.evaluation.formats import score_table

    title = f"{name}: {metrics['frames']} frames, {metrics['labelled_frames']} with labels"
    return score_table(title, metrics["class_share"], metrics["scores"])
