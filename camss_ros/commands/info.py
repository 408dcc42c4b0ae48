"""`camss-ros info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import fail, parse_size
from camss_ros.commands.segmenter_options import segmenter_options

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec


@segmenter_options("model", "steps")
def info(
    *,
    spec: SegmenterSpec,
    flops: bool = typer.Option(
        False, "--flops", help="Also count the multiply-accumulates of a frame."
    ),
    size: Optional[str] = typer.Option(
        None, metavar="WIDTHxHEIGHT", help="Size of that frame. Default: the model's working size."
    ),
) -> None:
    """Describe a model: label set, parameters, memory, hash of its weights, cost of a frame."""
    from rich.console import Console
    from rich.table import Table

    from camss_ros.model.checkpoint import (
        WEIGHTS_FILE,
        ModelError,
        find_model,
        load_pretrained,
        weights_hash,
    )
    from camss_ros.model.flops import count_macs

    try:
        asked = None if size is None else parse_size("--size", size, str(spec.model))
        network = load_pretrained(spec.model, inference_only=True)
        directory = find_model(spec.model)
        digest = weights_hash(spec.model)
        config = network.config
        frame = asked or config.input_size
        macs = count_macs(config, spec.sampling, frame) if flops else {}
    except (ModelError, ValueError, OSError) as error:
        fail(error)
    parameters = {
        name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()
    }
    total = sum(parameters.values())
    names = ", ".join(label_class.name for label_class in config.label_set)
    height, width = config.input_size
    metadata = {
        "name": config.name,
        "directory": directory,
        "label set": f"{len(config.label_set)} classes: {names}",
        "working size": f"{width} x {height} (width x height)",
        "weights": f"{_megabytes((directory / WEIGHTS_FILE).stat().st_size)}, sha256 {digest}",
        "memory": f"{_megabytes(4 * total)} of weights in fp32, {_megabytes(2 * total)} in 16 bit",
    }
    console = Console()
    for name, value in metadata.items():
        console.print(f"{name:13} {value}", soft_wrap=True, highlight=False, markup=False)
    table = Table("part")
    table.add_column("million parameters", justify="right")
    for name, count in parameters.items():
        table.add_row(name, f"{count / 1e6:.3f}")
    table.add_section()
    table.add_row("total", f"{total / 1e6:.3f}")
    console.print(table)
    if macs:
        console.print(
            f"a frame of {frame[1]} x {frame[0]}, steps: {spec.sampling.steps}", highlight=False
        )
        table = Table("stage")
        table.add_column("GMAC", justify="right")
        for stage, count in macs.items():
            table.add_row(stage, f"{count / 1e9:.3f}")
        table.add_section()
        table.add_row("total", f"{sum(macs.values()) / 1e9:.3f}")
        console.print(table)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
