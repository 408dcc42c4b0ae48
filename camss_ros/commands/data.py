"""`camss-ros data`: look at a data set, check that it is whole; to labelling tools and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import (
    DATA,
    LABEL_SET,
    ROOT,
    check_file,
    check_folder,
    counted_progress,
    fail,
    progress_row,
)
from camss_ros.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from rich.table import Table

    from camss_ros.datasets.augmentation import AugmentationOptions
    from camss_ros.datasets.datasets import DataSet
    from camss_ros.datasets.labeled_images import Contents
    from camss_ros.images.label_class import LabelClass

app = typer.Typer(
    help="Look at a data set, check that it is whole; exchange labels with labelling tools.",
    no_args_is_help=True,
)

SPLIT = typer.Option(None, help="Only this split; all that are there without it.")


@app.command()
def check(
    name: str = DATA,
    root: Path = ROOT,
    split: Optional[str] = SPLIT,
    label_set: Optional[str] = LABEL_SET,
) -> None:
    """Read every file: counts, unpaired and broken files, unknown label values, class shares."""
    from rich.console import Console

    from camss_ros.datasets.datasets import find_data_set
    from camss_ros.datasets.labeled_images import read_all

    console = Console(soft_wrap=True, highlight=False, markup=False)
    contents: dict[str, Contents] = {}
    problems: list[str] = []
    data_set = find_data_set(name)
    for part in _splits(data_set, root, split):
        listing = data_set.list(root, part)
        images = data_set.read(listing, root, label_set)
        with progress_row(part, len(images), transient=True) as step:
            contents[part] = read_all(images, step)
        problems += [*listing.problems, *contents[part].problems]
        console.print(_summary(part, len(images), listing.unlabelled, contents[part]))
    if any(part.sizes for part in contents.values()):
        console.print(_share_table(contents, images.label_set.classes))
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        fail(f"{len(problems)} problems in {root}")
    console.print("no problems")


@app.command()
def show(
    name: str = DATA,
    root: Path = ROOT,
    output: Path = typer.Option(..., help="PNG file of the contact sheet."),
    split: Optional[str] = SPLIT,
    label_set: Optional[str] = LABEL_SET,
    frames: int = typer.Option(4, min=1, help="Frames on the sheet from each split."),
    augmented: Optional[str] = typer.Option(
        None,
        "--augment",
        metavar="RECIPE",
        help="Also draw an augmented version of each: paper, or camss-tiny (the bundled "
        "model's recipe).",
    ),
    seed: int = typer.Option(0, min=0, max=LARGEST_SEED, help="Of the augmentation."),
) -> None:
    """Draw frames and their labels on a contact sheet, and count the frames."""
    import numpy as np

    from camss_ros.datasets.datasets import find_data_set
    from camss_ros.datasets.photometry import augment
    from camss_ros.evaluation.result_folder import write_image
    from camss_ros.images.drawing import colorize, contact_sheet, sample_evenly

    tiles = []
    check_file(output, ".png")
    recipe = None if augmented is None else _augmentation(augmented)
    data_set = find_data_set(name)
    for part in _splits(data_set, root, split):
        listing = data_set.list(root, part)
        images = data_set.read(listing, root, label_set)
        unpaired = f", {len(listing.problems)} files unpaired" if listing.problems else ""
        typer.echo(f"{part}: {len(images)} frames{unpaired}")
        for index in sample_evenly(len(images), frames):
            image, label, sample = images[index]
            tiles.append((image, f"{part} {sample}"))
            tiles.append((colorize(label, images.label_set.classes), images.label_set.name))
            if recipe is not None:
                view = augment(image, label, recipe, np.random.default_rng([seed, index]))
                tiles.append((view[0], f"augmented ({augmented})"))
                tiles.append((colorize(view[1], images.label_set.classes), "its label"))
    write_image(output, contact_sheet(tiles, images.label_set.classes))
    typer.echo(f"wrote {output}")


@app.command("import")
def import_(
    source: Path = typer.Argument(
        ..., metavar="EXPORT", help="Archive, folder or file.", show_default=False
    ),
    format_name: str = typer.Option(
        ...,
        "--format",
        help="cvat, label-studio, coco-panoptic, png, labelme, roboflow or supervisely.",
    ),
    label_set: str = typer.Option(
        ...,
        help="Classes of the data set, to which the labels belong by name: a name or a YAML file.",
    ),
    images: Optional[Path] = typer.Option(
        None,
        metavar="FOLDER",
        help="The images, or the folder of `pick`. Default: those in the export.",
    ),
    output: Path = typer.Option(..., help="Folder of the data set; must not exist."),
    val: Optional[list[str]] = typer.Option(
        None, metavar="DRIVE", help="For validation; once for each. Default: about a fifth."
    ),
) -> None:
    """Make a data set of what a labelling tool has exported, split by drive."""
    from camss_ros.datasets.exchange.import_labels import import_labels
    from camss_ros.images.label_sets import load_label_set

    check_folder(output)
    with progress_row("importing", transient=True) as step:
        done = import_labels(
            source, format_name, load_label_set(label_set), images, output, val or (),
            lambda count: step(0, count), step,
        )  # fmt: skip
    split = done.split
    typer.echo(
        f"{len(split.train)} frames for training and {len(split.val)} for validation "
        f"({', '.join(done.val_drives)}) in '{output}'"
    )
    if split.left_out:
        typer.echo(
            "There is one drive only: validation is its end, which says little of other drives. "
            f"Left out between the two: {len(split.left_out)}"
        )
    if done.unlabelled:
        typer.echo(f"without labels: {len(done.unlabelled)} images, {done.unlabelled[0]} first")


@app.command()
def export(
    source: Path = typer.Argument(
        ..., metavar="FOLDER", help="images/ and prelabels/, as `pick` leaves it, or labels/."
    ),
    format_name: str = typer.Option(
        ..., "--format", help="cvat, label-studio, coco-panoptic or png."
    ),
    output: Path = typer.Option(..., help="Folder for the labels and the tool's configuration."),
    label_set: Optional[str] = typer.Option(
        None, help="Of the label images: a name or a YAML file. Default: FOLDER/label_set.yaml."
    ),
) -> None:
    """Write frames with their labels for a labelling tool, with the configuration of its labels."""
    from camss_ros.datasets.exchange.formats import WRITERS, find_format
    from camss_ros.datasets.exchange.prelabels import Prelabels
    from camss_ros.images.label_sets import load_label_set, save_label_set

    check_folder(output)
    write = find_format(format_name, WRITERS)
    classes = load_label_set(label_set or source / "label_set.yaml")
    prelabels = Prelabels(source, classes)
    output.mkdir(parents=True, exist_ok=True)
    with counted_progress(transient=True) as bar:
        write(bar.track(prelabels, total=len(prelabels), description="writing"), classes, output)
    save_label_set(classes, output / "label_set.yaml")
    typer.echo(f"{len(prelabels)} frames in '{output}'")


def _augmentation(name: str) -> AugmentationOptions:
    from camss_ros.resources import config_file
    from camss_ros.training.config import SegmenterConfig
    from camss_ros.training.config_files import load_config

    recipes = {"paper": "cam_seg_base_cityscapes", "camss-tiny": "camss_tiny_street"}
    if name not in recipes:
        raise ValueError(f"no augmentation recipe {name!r}: expected one of {', '.join(recipes)}")
    return load_config(SegmenterConfig, config_file(f"train/{recipes[name]}.yaml")).augmentation


def _splits(data_set: DataSet, root: Path, split: str | None) -> tuple[str, ...]:
    # Without any, listing the usual one says what was looked for.
    return (split,) if split is not None else data_set.splits(root) or ("val",)


def _summary(split: str, count: int, unlabelled: int, contents: Contents) -> str:
    common = contents.sizes.most_common(3)
    sizes = ", ".join(f"{width} x {height}" for (height, width), _ in common)
    if len(contents.sizes) > len(common):
        sizes += " and others"
    labels = f"; {unlabelled} more images without a label" if unlabelled else ""
    return f"{split}: {count} frames of {sizes or 'no readable size'}{labels}"


def _share_table(contents: Mapping[str, Contents], classes: tuple[LabelClass, ...]) -> Table:
    from camss_ros.evaluation.formats import number, result_table

    table = result_table("class", *contents, title="share of the labelled pixels, %")
    for label_class in classes:
        shares = (number(100 * c.share(label_class.id)) for c in contents.values())
        table.add_row(label_class.name, *shares)
    table.add_section()
    void = (number(100 * c.void_share()) for c in contents.values())
    table.add_row("without a class (of all)", *void)
    return table
