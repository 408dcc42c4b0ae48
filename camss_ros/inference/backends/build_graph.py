"""Graphs in the cache directory: `python -m camss_ros.inference.backends.build_graph` makes one."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from camss_ros.extras import versions
from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.backends.open_runtime import open_runtime
from camss_ros.inference.backends.verify_graph import verify_graph
from camss_ros.inference.graphs.cache import cache_key, cached_file
from camss_ros.inference.graphs.calibration import read_calibration
from camss_ros.inference.graphs.export import ExportError, GraphSpec, export_onnx
from camss_ros.inference.graphs.quantize import quantize, write_archive
from camss_ros.inference.memory import is_out_of_memory
from camss_ros.model.checkpoint import CONFIG_FILE, ModelError, load_camseg, weights_hash
from camss_ros.model.schedule import SamplingOptions

_log = logging.getLogger(__name__)

Used = TypeVar("Used")


def model_hash(model: Path) -> str:
    """SHA-256, in hexadecimal, of all that a model directory holds of the network.

    Raises:
        OSError, ModelError: one of its files is missing or can't be read.
    """
    config = (model / CONFIG_FILE).read_bytes()
    return hashlib.sha256(config + weights_hash(model).encode()).hexdigest()


def cached_graph(model: Path, digest: str, spec: GraphSpec) -> Path:
    """The ONNX file of `spec`, exported if the cache does not have it.

    Args:
        model: directory of the model.
        digest: its `model_hash`.

    Raises:
        ModelError: the model cannot be read.
        ExportError: see `export_onnx`.
    """

    def export(path: Path) -> None:
        # a caller may be segmenting, in inference mode, of which tracing would take note
        with torch.inference_mode(False):
            export_onnx(load_camseg(model), spec, path)

    metadata = {"model": digest, "spec": spec.metadata(), "torch": torch.__version__}
    return cached_file(f"graph-{cache_key(metadata)}.onnx", export)


def from_cache(file: Callable[[], Path], use: Callable[[Path], Used]) -> Used:
    """What `use` makes of a file of the cache, which is made again, once, where that fails.

    Args:
        file: makes it if need be.
        use: raises whatever a damaged file, or one of another version or driver, leads it to.
    """
    path = file()
    try:
        return use(path)
    except Exception as error:
        if isinstance(error, BackendUnavailableError) or is_out_of_memory(error):
            raise  # the file is no cause of that
        _log.warning("%s cannot be used (%s) and is made again", path, error)
        path.unlink(missing_ok=True)
        return use(file())


def cached_int8_graph(model: Path, digest: str, spec: GraphSpec, calibration: Path) -> Path:
    """The archive (`quantize.write_archive`) of `spec` in int8, made if the cache has none.

    Args:
        model: directory of the model.
        digest: its `model_hash`.
        calibration: a file of `calibration_file`.

    Raises:
        ModelError, ExportError: see `cached_graph`.
        ExportError: int8 changes too many labels.
        BackendUnavailableError: it does not run here.
    """

    def quantize_to(path: Path) -> None:
        runtime = open_runtime("openvino", torch.device("cpu"), "int8")
        frames, held_out = read_calibration(calibration)
        quantized = from_cache(
            lambda: cached_graph(model, digest, spec), lambda graph: quantize(graph, frames)
        )
        write_archive(quantized, path)
        result = verify_graph(
            load_camseg(model), spec, spec.sampling, runtime.open(path), runtime.dtype, held_out
        )
        if not result.passed:
            raise ExportError(
                f"int8 changes this network too much: {result}; use precision bf16 or fp32"
            )

    metadata = {
        "model": digest, "spec": spec.metadata(), "calibration": calibration.name,
        **versions("torch", "openvino", "nncf"),
    }  # fmt: skip
    return cached_file(f"int8-{cache_key(metadata)}.zip", quantize_to)


def main(model: str, digest: str, spec: str, niceness: str, calibration: str = "") -> int:
    """Make the graph, in int8 if there are frames to calibrate on, and print its path.

    `niceness` is that of a process beside a node that segments.
    """
    os.nice(int(niceness))
    torch.set_num_threads(1)
    metadata = json.loads(spec)
    sampling = SamplingOptions(**metadata["sampling"])
    output_size = metadata["output_size"] and tuple(metadata["output_size"])
    try:
        wanted = GraphSpec(tuple(metadata["size"]), sampling, output_size)
        if calibration:
            path = cached_int8_graph(Path(model), digest, wanted, Path(calibration))
        else:
            path = cached_graph(Path(model), digest, wanted)
        print(path)
    except (ModelError, ExportError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
