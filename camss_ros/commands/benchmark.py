"""`camss-ros benchmark`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from camss_ros.commands.checks import check_file
from camss_ros.commands.options import command_line, fail, need_node, parse_size
from camss_ros.commands.segmenter_options import NETWORK, SAMPLING, segmenter_options

if TYPE_CHECKING:
    from rich.console import Console

    from camss_ros.inference.spec import SegmenterSpec


@segmenter_options(*NETWORK, *SAMPLING, backend="auto")
def benchmark(
    *,
    spec: SegmenterSpec,
    size: Optional[str] = typer.Option(
        None,
        metavar="WIDTHxHEIGHT",
        help="Of the frames, with --random-weights of the network too. Default: the model's.",
    ),
    frames: int = typer.Option(100, min=2, help="Frames that are timed."),
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
    turns: int = typer.Option(3, min=1, help="Of each side, with --versus."),
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
    import signal
    import sys

    from rich.console import Console
    from rich.progress import Progress

    from camss_ros.lab import tables
    from camss_ros.lab.frame_launches import measure_calls
    from camss_ros.lab.node_speed import SIZES
    from camss_ros.lab.official_section import compare_with_official
    from camss_ros.lab.random_weights import random_weights as with_random_weights
    from camss_ros.lab.segmenter_speed import measure_segmenter
    from camss_ros.model.checkpoint import CONFIG_FILE, ModelError, find_model, read_config
    from camss_ros.model.config import CamSegConfig
    from camss_ros.street.calibration_scenes import CalibrationScenes

    # Removes the temporary folders, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console()
    if versus not in (None, "official"):
        fail(f"--versus is {versus!r}: expected official")
    if node and versus is not None:
        fail("--node and --versus are two measurements: choose one")
    if node:
        need_node()
    try:
        check_file(json_path)
        frame_size = None if size is None else parse_size("--size", size, str(spec.model))
        found = (
            with_random_weights(str(spec.model), frame_size)
            if random_weights
            else nullcontext(find_model(spec.model))
        )
        content: dict[str, Any]
        if node:
            from camss_ros.nodes.segmenter.parameters import node_parameters  # needs rclpy

            sizes = SIZES if frame_size is None else (frame_size,)
            with found as directory:
                through_dds = _measure_node(directory, node_parameters(spec), sizes, console)
            console.print(tables.node_table(through_dds["sizes"]))
            content = {"command": command_line(), "random_weights": random_weights, **through_dds}
            _finish(content, json_path, console)
            return
        with found as directory, Progress(console=console) as bar:
            config = read_config(directory / CONFIG_FILE)
            task = bar.add_task("loading", total=None)
            segmenter = replace(spec, model=directory).open(CalibrationScenes())
            bar.update(task, description="frames", total=frames)
            content = {
                "command": command_line(),
                "random_weights": random_weights,
                **measure_segmenter(
                    segmenter,
                    config if isinstance(config, CamSegConfig) else None,
                    frame_size or segmenter.input_size,
                    frames,
                    lambda: bar.advance(task),
                ),
            }
            if calls:
                bar.update(task, description="calls")
                content["calls"] = measure_calls(
                    lambda captured: replace(spec, model=directory).open(
                        CalibrationScenes(), captured=captured
                    )
                )
            if versus is not None:
                task = bar.add_task("turns", total=turns)
                content["versus_official"] = compare_with_official(
                    segmenter, directory, turns, lambda: bar.advance(task)
                )
    except (ModelError, ValueError, OSError) as error:
        fail(error)
    console.print(tables.speed_table(content))
    if calls:
        console.print(tables.calls_table(content["calls"]))
    if versus is not None:
        console.print(tables.versus_table(content["versus_official"]))
    _finish(content, json_path, console)


def _measure_node(
    model: Path,
    parameters: dict[str, Any],
    sizes: Sequence[tuple[int, int]],
    console: Console,
) -> dict[str, Any]:
    from rich.progress import Progress

    from camss_ros.lab.node_benchmark import measure_node_sizes
    from camss_ros.lab.node_speed import NodeSettings
    from camss_ros.nodes.harness.child_process import ChildFailedError

    with Progress(console=console) as bar:
        task = bar.add_task("starting the node", total=None)

        def on_trial(size: str, trials: int) -> None:
            bar.update(task, description=f"{size}: {trials} trials")

        try:
            return measure_node_sizes(model, parameters, sizes, NodeSettings(), on_trial)
        except ChildFailedError as error:
            fail(error)


def _finish(content: dict[str, Any], json_path: Path | None, console: Console) -> None:
    """Say where the numbers are of, and write them."""
    from camss_ros.evaluation.result_folder import write_json

    machine = content["machine"]
    console.print(
        f"{machine['processor']}, {machine['device']}; load average {content['load_average']}",
        highlight=False,
    )
    if json_path is not None:
        write_json(json_path, content)
        console.print(f"wrote {json_path}", highlight=False)
