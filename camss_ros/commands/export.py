"""`camss-ros export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from camss_ros.commands.options import check_file, parse_size
from camss_ros.commands.segmenter_options import SegmenterSpec, segmenter_options
from camss_ros.extras import require

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".engine"}


@segmenter_options(
    "model", "steps", "sampler", "start", "temperature", "samples", "device", "precision",
    "network_size",
)  # fmt: skip
def export(
    output: Path = typer.Option(..., help="File to write: .onnx, .xml or .engine."),
    file_format: str = typer.Option(
        "onnx", "--format", help="onnx, openvino or tensorrt (unverified)."
    ),
    *,
    spec: SegmenterSpec,
    output_size: Optional[str] = typer.Option(
        None, metavar="WIDTHxHEIGHT", help="Of the labels; default: as in the network."
    ),
    images: Optional[str] = typer.Option(
        None, help="Verify on this video or image folder, not on the synthetic street."
    ),
    frames: int = typer.Option(8, min=1, help="Frames to verify on."),
    calibrate: Optional[str] = typer.Option(
        None,
        metavar="PATH",
        help="Calibrate int8 on this video or image folder, not on synthetic scenes.",
    ),
    guard: Optional[Path] = typer.Option(
        None,
        metavar="FILE",
        help="Of `camss-ros guard`: write nothing where a class falls below its limit.",
    ),
) -> None:
    """Write the network, from frame to label image, as one graph, and verify it against PyTorch.

    The file takes frames of the size in the network and is made for one number of steps, sampler,
    number of samples and output size. Where its labels differ from PyTorch's on too many pixels,
    nothing is written and the exit code is 1. `precision` is what openvino is verified in and what
    tensorrt is built for; an ONNX file is float32. In int8 the ranges of the values come from
    frames: a few dozen of the camera's own, from everywhere in its recordings, are the best.
    """
    import tempfile

    import torch
    from rich.console import Console

    from camss_ros.evaluation.guard import check_guard
    from camss_ros.inference.backends.open_runtime import open_runtime
    from camss_ros.inference.backends.verify_graph import verify_graph
    from camss_ros.inference.device import select_device
    from camss_ros.inference.graph_segmenter import GraphSegmenter
    from camss_ros.inference.graphs.export import ExportError, GraphSpec, export_onnx, save_openvino
    from camss_ros.inference.graphs.quantize import quantize
    from camss_ros.inference.network_size import checked_size
    from camss_ros.model.checkpoint import find_config, find_model, load_camseg
    from camss_ros.street.calibration_scenes import COUNT, CalibrationScenes
    from camss_ros.street.synthetic import random_scene

    console = Console(stderr=True)
    suffix = SUFFIXES.get(file_format)
    if suffix is None:
        raise ValueError(f"--format must be one of {', '.join(SUFFIXES)}, not {file_format!r}")
    check_file(output, suffix)
    if calibrate is not None and (file_format, spec.precision) != ("openvino", "int8"):
        raise ValueError("--calibrate is for --format openvino --precision int8")
    if file_format == "onnx" and spec.precision not in ("auto", "fp32"):
        raise ValueError(
            f"--format onnx is float32, and has no precision {spec.precision}: leave it out, or "
            "export --format openvino or tensorrt"
        )
    directory = find_model(spec.model)
    size = checked_size(find_config(directory), spec.network_size)
    result_size = parse_size("--output-size", output_size) if output_size else size
    graph_spec = GraphSpec(size, spec.sampling, result_size)
    streets = (random_scene(seed)[0] for seed in range(frames))
    pictures = list(streets) if images is None else _frames_of(images, frames)
    require("onnx")
    if file_format == "onnx":
        runtime = open_runtime("onnxruntime", select_device("cpu"), "fp32")
    else:
        runtime = open_runtime(file_format, select_device(spec.device), spec.precision)
    calibration = []
    if runtime.dtype == torch.int8:
        with console.status("taking the frames to calibrate on"):
            if calibrate is None:
                calibration = list(CalibrationScenes())
            else:
                calibration = _frames_of(calibrate, COUNT, spread=True)
    network = load_camseg(directory)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as folder:
        written = Path(folder) / output.name
        onnx_file = written.with_suffix(".onnx")
        with console.status("exporting"):
            export_onnx(network, graph_spec, onnx_file)
        if calibration:  # which shows its own progress
            save_openvino(quantize(onnx_file, calibration), written)
        with console.status("compiling"):
            if file_format == "openvino" and not calibration:
                save_openvino(onnx_file, written)
            elif file_format == "tensorrt":
                runtime.compile(onnx_file, written)
            graph = runtime.load(written) if file_format == "tensorrt" else runtime.open(written)
        with console.status(f"comparing {len(pictures)} frames"):
            result = verify_graph(
                network, graph_spec, spec.sampling, graph, runtime.dtype, pictures
            )
        if not result.passed:
            raise ExportError(f"the graph does not do what PyTorch does: {result}")
        if guard is not None:
            with console.status(f"scoring it on the frames of {guard}"):
                check_guard(guard, GraphSegmenter(network, graph_spec, spec.sampling, graph))
        for suffix in (".bin", output.suffix):  # the weights of an .xml before itself
            if (part := written.with_suffix(suffix)).exists():
                part.replace(output.with_suffix(suffix))
    typer.echo(f"{result}\nwrote {output}")


def _frames_of(source: str, count: int, spread: bool = False) -> list[np.ndarray]:
    """The first frames of a video or image folder, or as many from everywhere in it."""
    from itertools import islice

    from camss_ros.images.frames import open_frames

    opened = open_frames(source)
    length = max(count, opened.length or count) if spread else count
    wanted = {index * length // count for index in range(count)}
    frames = [
        frame.image
        for index, frame in enumerate(islice(opened, max(wanted) + 1))
        if index in wanted
    ]
    if not frames:
        raise ValueError(f"no image in {source}")
    return frames
