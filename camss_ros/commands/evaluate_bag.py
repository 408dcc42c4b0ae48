"""`camss-ros evaluate-bag`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camss_ros.commands.checks import check_folder
from camss_ros.commands.options import (
    DEFAULT_STEPS,
    BackendName,
    Device,
    Iterations,
    Model,
    NetworkSize,
    Precision,
    RevealOrder,
    SamplerName,
    Samples,
    Seed,
    Steps,
    Temperature,
    command_line,
    fail,
    parse_network_size,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from camss_ros.evaluation.bag_run import BagTask, ProgressOfRun


def evaluate_bag(
    bags: Annotated[
        list[Path],
        typer.Argument(
            metavar="BAG...",
            help="rosbag2 folders, .mcap or .db3 files, ROS 1 bags, or folders of bags.",
            show_default=False,
        ),
    ],
    image: Annotated[
        list[str],
        typer.Option(metavar="TOPIC", help="Image or CompressedImage; once for each camera."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for masks, video, metrics and report.")],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC",
            help="Label images: class ids, 8 bit, one channel. One for each --image, in their "
            "order; - for a camera without.",
        ),
    ] = None,
    label_set: Annotated[
        str | None,
        typer.Option(help="Of the labels: a name (camvid11) or a YAML file. Default: the model's."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Seconds between a label's stamp and its image's, at most.")
    ] = 0.0,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th image.")] = 1,
    start: Annotated[float, typer.Option(min=0, help="Seconds after the bag's beginning.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(min=0, help="Seconds from there on. Default: to the end.")
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take only the frames that a frames.jsonl lists, by their stamps: those that came "
            "back in a replay.",
        ),
    ] = None,
    write_bag: Annotated[
        bool, typer.Option("--write-bag", help="Also write OUTPUT/bag: the bag with the masks.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes for several bags, a bag each.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Several bags on a Ray cluster instead: local, auto or HOST:PORT.",
        ),
    ] = None,
    model: Model = "camss-tiny",
    steps: Steps = DEFAULT_STEPS,
    sampler: SamplerName = "ddim",
    start_timestep: Annotated[
        int, typer.Option("--first-timestep", help="First timestep of sampling, 1 to 999.")
    ] = 950,
    temperature: Temperature = 0.0,
    samples: Samples = 1,
    iterations: Iterations = 1,
    order: RevealOrder = "confidence",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: BackendName = "torch",
    network_size: NetworkSize = None,
) -> None:
    """Segment bags into masks, videos, scores and a report; run again, it goes on."""
    from rich.console import Console

    from camss_ros.evaluation.bag_frames import BagSelection
    from camss_ros.evaluation.bag_run import BagTask, NetworkChoice
    from camss_ros.evaluation.bag_shelf import bag_names, find_bags, is_bag
    from camss_ros.model.checkpoint import ModelError
    from camss_ros.model.schedule import SamplingOptions

    console = Console()
    choices: dict[str, Any] = {"sampler": sampler, "order": order}
    try:
        check_folder(output)
        cameras = tuple(
            BagSelection(topic, label, tolerance, every, start, duration)
            for topic, label in _pairs(image, labels or [])
        )
        sampling = SamplingOptions(
            steps=steps, start=start_timestep, temperature=temperature, samples=samples,
            iterations=iterations, **choices,
        )  # fmt: skip
        network = NetworkChoice(
            model,
            sampling,
            seed,
            device,
            precision,
            backend,
            parse_network_size(network_size, model),
        )

        def task(bag: Path, folder: Path) -> BagTask:
            return BagTask(
                bag, folder, cameras, label_set, network, write_bag, command_line(), frames
            )

        if len(bags) == 1 and is_bag(bags[0]):
            _one_bag(task(bags[0], output), console)
        else:
            found = find_bags(bags)
            tasks = [
                task(b, output / name) for b, name in zip(found, bag_names(found), strict=True)
            ]
            _shelf(tasks, output, workers, ray, console)
    except (OSError, ValueError, ModelError) as error:
        fail(error)


def _pairs(images: list[str], labels: list[str]) -> list[tuple[str, str | None]]:
    if len(set(images)) < len(images):
        raise ValueError(f"a topic is named twice: --image {' --image '.join(images)}")
    if labels and len(labels) != len(images):
        raise ValueError(
            f"{len(labels)} --labels for {len(images)} --image: expected one for each, in their "
            "order, and - for a camera without labels"
        )
    chosen = [None if topic == "-" else topic for topic in labels] or [None] * len(images)
    return list(zip(images, chosen, strict=True))


def _one_bag(task: BagTask, console: Console) -> None:
    import json

    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from camss_ros.evaluation.bag_run import run_bag
    from camss_ros.evaluation.evaluate_bag import METRICS_FILE

    with Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        notes = run_bag(task, progress=_bars(bar, len(task.cameras) > 1))
    for topic, folder in task.folders().items():
        metrics = json.loads((folder / METRICS_FILE).read_text())
        console.print(metrics_table(metrics, topic))
        passed_over = metrics["passed_over"]
        faults = [f"{count} x {reason}" for reason, count in passed_over["by_reason"].items()]
        for warning in [*metrics["warnings"], *faults, *passed_over["first"]]:
            typer.echo(f"warning: {warning}", err=True)
    for note in notes:
        typer.echo(f"warning: {note}", err=True)
    console.print(
        f"wrote masks, overlay.mp4, {METRICS_FILE} and report.html to '{task.output}'",
        highlight=False,
    )


def _shelf(
    tasks: list[BagTask], output: Path, workers: int, ray: str | None, console: Console
) -> None:
    """Every bag into its own folder, and one report on all. Ends with 1 where any failed."""
    from rich.progress import MofNCompleteColumn, Progress

    from camss_ros.evaluation.bag_run import REPORT_FILE, read_parts
    from camss_ros.evaluation.bag_shelf import run_shelf, run_shelf_on_ray
    from camss_ros.evaluation.report import RunFacts, write_report

    network = tasks[0].network.settings()  # refuses a model that can't be read, before any bag
    output.mkdir(parents=True, exist_ok=True)
    reasons: dict[int, str] = {}
    with Progress(
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), console=console
    ) as bar:
        row = bar.add_task("bags", total=len(tasks))

        def on_done(number: int, reason: str | None) -> None:
            if reason is not None:
                reasons[number] = reason
            bar.advance(row)

        if ray is None:
            run_shelf(tasks, workers, on_done)
        else:
            run_shelf_on_ray(tasks, ray, on_done)
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
    facts = RunFacts(
        title=f"{len(tasks)} bags",
        command=tasks[0].command,
        model=network["model"],
        sampling=network["sampling"],
        failed=sorted(failed, key=lambda failure: failure["bag"]),
        bags=len(tasks) - len(failed),
    )
    numbers = write_report(output / REPORT_FILE, parts, facts)
    total = numbers["total"]
    console.print(metrics_table(total, f"{facts.bags} of {len(tasks)} bags"))
    console.print(f"wrote {REPORT_FILE} and a folder for each bag to '{output}'", highlight=False)
    if failed:
        raise typer.Exit(1)


def _bars(bar: Any, several: bool) -> ProgressOfRun:
    """The progress of a run as bars."""
    from camss_ros.evaluation.bag_run import ProgressOfRun

    class Bars(ProgressOfRun):
        def __init__(self) -> None:
            self._written: Any = None

        @contextlib.contextmanager
        def camera(self, topic: str) -> Iterator[None]:
            of = f" {topic}" if several else ""
            self._reading = bar.add_task(f"reading stamps{of}", total=None)
            self._segmenting = bar.add_task(f"segmenting{of}", total=None)
            self._messages = 0
            yield

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


def metrics_table(metrics: dict[str, Any], name: str) -> Table:
    """Share of the pixels and, with labels, the scores, in percent."""
    from rich.table import Table

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    scores = metrics["scores"]
    title = f"{name}: {metrics['frames']} frames, {metrics['labelled_frames']} with labels"
    table = Table("class", title=title)
    columns = {"share": metrics["class_share"]}
    if scores:
        columns |= {
            "IoU": scores["per_class_iou"],
            "precision": scores["per_class_precision"],
            "recall": scores["per_class_recall"],
        }
    for column in columns:
        table.add_column(column, justify="right")
    for name in metrics["class_share"]:
        table.add_row(name, *(percent(values.get(name)) for values in columns.values()))
    if scores:
        table.add_section()
        table.add_row(
            "mean", "", percent(scores["miou"]), percent(scores["precision_void_excluded"]), ""
        )
        table.add_row("pixel accuracy", "", percent(scores["pixel_accuracy"]), "", "")
    return table
