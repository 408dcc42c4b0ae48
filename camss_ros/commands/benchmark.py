"""`camss-ros benchmark`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import typer

from camss_ros.commands.options import (
    check_file,
    command_line,
    counted_progress,
    fail,
    parse_size,
    show,
)
from camss_ros.commands.segmenter_options import NETWORK, SAMPLING, SegmenterSpec, segmenter_options
from camss_ros.extras import require_node


@segmenter_options(*NETWORK, *SAMPLING, backend="auto")
def benchmark(
    *,
    spec: SegmenterSpec,
    size: Optional[str] = typer.Option(
        None,
        metavar="WIDTHxHEIGHT",
        help="Of the frames, with --random-weights of the network too. Default: the model's.",
    ),
    frames: Optional[int] = typer.Option(None, min=2, help="Frames that are timed. Default: 100."),
    random_weights: bool = typer.Option(
        False, "--random-weights", help="Weights need not be there; cam-seg-base is known by name."
    ),
    versus: Optional[str] = typer.Option(
        None, metavar="official", help="Time the official procedure too, by turns."
    ),
    calls: bool = typer.Option(
        False,
        "--calls",
        help="Also count operators, launches, copies and waits of a frame, by PyTorch's profiler.",
    ),
    turns: Optional[int] = typer.Option(
        None, min=1, help="Of each side, with --versus. Default: 3."
    ),
    node: bool = typer.Option(
        False,
        "--node",
        help="Measure the node through DDS instead: highest rate, then latency at 10 and "
        "30 Hz, at --size or at 480x360 and 1920x1080.",
    ),
    json_path: Optional[Path] = typer.Option(
        None, "--json", metavar="FILE", help="Write the numbers to FILE."
    ),
) -> None:
    """Time every stage of a frame; memory, GMAC and share of the machine's matmul peak."""

    from camss_ros.evaluation.result_folder import write_json
    from camss_ros.lab import tables
    from camss_ros.lab.frame_launches import measure_calls
    from camss_ros.lab.official_procedure import check_official
    from camss_ros.lab.official_section import compare_with_official
    from camss_ros.lab.random_weights import random_weights as with_random_weights
    from camss_ros.lab.segmenter_speed import measure_segmenter
    from camss_ros.model.checkpoint import find_config, find_model
    from camss_ros.street.calibration_scenes import CalibrationScenes

    if versus not in (None, "official"):
        fail(f"--versus is {versus!r}: expected official")
    if node and versus is not None:
        fail("--node and --versus are two measurements: choose one")
    if node and (calls or frames is not None):
        fail("--calls and --frames are of the segmenter alone: leave them out with --node")
    if turns is not None and versus is None:
        fail("--turns is of --versus official")
    frames, turns = frames or 100, turns or 3
    if node:
        require_node()
    check_file(json_path)
    frame_size = None if size is None else parse_size("--size", size)
    found = (
        with_random_weights(str(spec.model), frame_size)
        if random_weights
        else nullcontext(find_model(spec.model))
    )
    content: dict[str, Any] = {"command": command_line(), "random_weights": random_weights}
    with found as directory, counted_progress() as bar:
        if versus is not None:
            check_official(find_config(directory))
        if node:
            from camss_ros.lab.node_benchmark import measure_node_sizes
            from camss_ros.lab.node_speed import SIZES, NodeSettings
            from camss_ros.nodes.segmenter.parameters import node_parameters

            task = bar.add_task("starting the node", total=None)
            content |= measure_node_sizes(
                directory, node_parameters(spec), [frame_size] if frame_size else SIZES,
                NodeSettings(),
                lambda size, trials: bar.update(task, description=f"{size}: {trials} trials"),
            )  # fmt: skip
            results = [tables.node_table(content["sizes"])]
        else:
            task = bar.add_task("loading", total=None)
            segmenter = replace(spec, model=directory).open(CalibrationScenes())
            bar.update(task, description="frames", total=frames)
            content |= measure_segmenter(
                segmenter, find_config(directory), frame_size or segmenter.input_size, frames,
                lambda done: bar.update(task, completed=done),
            )  # fmt: skip
            results = [tables.speed_table(content)]
            if calls:
                bar.update(task, description="calls")
                content["calls"] = measure_calls(
                    lambda captured: replace(spec, model=directory).open(
                        CalibrationScenes(), captured=captured
                    )
                )
                results.append(tables.calls_table(content["calls"]))
        if versus is not None:
            task = bar.add_task("turns", total=turns)
            content["versus_official"] = compare_with_official(
                segmenter, directory, turns, lambda: bar.advance(task)
            )
            results.append(tables.versus_table(content["versus_official"]))
    show(*results)
    machine = content["machine"]
    typer.echo(
        f"{machine['processor']}, {machine['device']}; load average {content['load_average']}"
    )
    if json_path is not None:
        write_json(json_path, content)
        typer.echo(f"wrote {json_path}")
