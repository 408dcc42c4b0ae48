"""`camss-ros evaluate-bag`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camss_ros.commands.options import (
    Device,
    Iterations,
    Model,
    Precision,
    RevealOrder,
    SamplerName,
    Samples,
    Seed,
    Steps,
    Temperature,
    fail,
)

if TYPE_CHECKING:
    from rich.table import Table


def evaluate_bag(
    bag: Annotated[
        Path,
        typer.Argument(
            metavar="BAG",
            help="rosbag2 folder, .mcap or .db3 file, or a ROS 1 bag.",
            show_default=False,
        ),
    ],
    image: Annotated[str, typer.Option(metavar="TOPIC", help="Image or CompressedImage.")],
    output: Annotated[Path, typer.Option(help="Folder for masks, overlay video and metrics.")],
    labels: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Label images: class ids, 8 bit, one channel."),
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
    write_bag: Annotated[
        bool, typer.Option("--write-bag", help="Also write OUTPUT/bag: the bag with the masks.")
    ] = False,
    model: Model = "camss-tiny",
    steps: Steps = 4,
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
) -> None:
    """Segment a bag's images into masks, a video and scores; run again, it goes on."""
    import dataclasses
    import shutil

    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from camss_ros.data.bag import Bag
    from camss_ros.data.label_sets import load_label_set
    from camss_ros.evaluation.bag_frames import BagSelection
    from camss_ros.evaluation.evaluate_bag import METRICS_FILE
    from camss_ros.evaluation.evaluate_bag import evaluate_bag as run
    from camss_ros.evaluation.masks_bag import write_masks_bag
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import ModelError, weights_hash
    from camss_ros.model.schedule import SamplingOptions

    console = Console()
    choices: dict[str, Any] = {"sampler": sampler, "order": order}
    try:
        selection = BagSelection(image, labels, tolerance, every, start, duration)
        sampling = SamplingOptions(
            steps=steps, start=start_timestep, temperature=temperature, samples=samples,
            iterations=iterations, **choices,
        )  # fmt: skip
        with (
            Bag(bag) as opened,
            Progress(
                *Progress.get_default_columns()[:2],
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=console,
            ) as bar,
        ):
            for name in filter(None, (image, labels)):
                opened.require(name)
            label_classes = load_label_set(label_set) if label_set else None
            segmenter = Segmenter(
                model, device=device, precision=precision, sampling=sampling, seed=seed
            )
            settings = {
                "bag": str(bag.resolve()),
                "bag_bytes": opened.size,
                "selection": dataclasses.asdict(selection),
                "label_set": label_set,
                "model": {
                    "source": model,
                    "name": segmenter.model_name,
                    "sha256": weights_hash(model),
                    "dtype": str(segmenter.dtype).removeprefix("torch."),
                },
                "sampling": {**dataclasses.asdict(sampling), "seed": seed},
            }
            progress = _Bars(bar)
            result = run(segmenter, opened, output, selection, settings, progress, label_classes)
            notes: list[str] = []
            if write_bag:
                task = bar.add_task("writing the bag", total=None)
                shutil.rmtree(output / "bag", ignore_errors=True)
                notes = write_masks_bag(
                    opened, output / "bag", selection, result.mask_of, segmenter.classes,
                    lambda: bar.advance(task),
                )  # fmt: skip
    except (OSError, ValueError, ModelError) as error:
        fail(error)
    metrics = result.metrics
    console.print(_table(metrics))
    passed_over = metrics["passed_over"]
    faults = [f"{count} x {reason}" for reason, count in passed_over["by_reason"].items()]
    for warning in [*metrics["warnings"], *faults, *passed_over["first"], *notes]:
        typer.echo(f"warning: {warning}", err=True)
    console.print(f"wrote masks, overlay.mp4 and {METRICS_FILE} to '{output}'", highlight=False)


class _Bars:
    """The progress of a run as two bars."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._reading = bar.add_task("reading stamps", total=None)
        self._segmenting = bar.add_task("segmenting", total=None)
        self._messages = 0

    def reading(self) -> None:
        self._messages += 1
        self._bar.update(self._reading, completed=self._messages)

    def expecting(self, frames: int) -> None:
        self._bar.update(self._reading, total=self._messages)
        self._bar.update(self._segmenting, total=frames)

    def segmented(self) -> None:
        self._bar.advance(self._segmenting)


def _table(metrics: dict[str, Any]) -> Table:
    """Share of the pixels and, with labels, the scores, in percent."""
    from rich.table import Table

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    scores = metrics["scores"]
    title = f"{metrics['frames']} frames, {metrics['labelled_frames']} with labels"
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
