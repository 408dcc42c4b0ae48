"""`camss-ros info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import fail, parse_size, show
from camss_ros.commands.segmenter_options import SegmenterSpec, segmenter_options

if TYPE_CHECKING:
    from rich.table import Table


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

    from camss_ros.model.checkpoint import WEIGHTS_FILE, find_model, load_pretrained, weights_hash
    from camss_ros.model.flops import count_macs

    asked = None if size is None else parse_size("--size", size)
    if asked is not None and not flops:
        fail("--size is of --flops")
    network = load_pretrained(spec.model, inference_only=True)
    directory = find_model(spec.model)
    digest = weights_hash(spec.model)
    config = network.config
    frame = asked or config.input_size
    macs = count_macs(config, spec.sampling, frame) if flops else {}
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
    for name, value in metadata.items():
        typer.echo(f"{name:13} {value}")
    show(_count_table("part", "million parameters", parameters, 1e6))
    if macs:
        typer.echo(f"a frame of {frame[1]} x {frame[0]}, steps: {spec.sampling.steps}")
        show(_count_table("stage", "GMAC", macs, 1e9))


def _count_table(first: str, column: str, counts: Mapping[str, int], unit: float) -> Table:
    from camss_ros.evaluation.formats import result_table

    table = result_table(first, column)
    for name, count in counts.items():
        table.add_row(name, f"{count / unit:.3f}")
    table.add_section()
    table.add_row("total", f"{sum(counts.values()) / unit:.3f}")
    return table


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
