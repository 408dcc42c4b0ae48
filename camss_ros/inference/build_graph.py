"""ONNX graphs in the cache directory: `python -m camss_ros.inference.build_graph` makes one."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import torch

from camss_ros.inference.backends import load_camseg
from camss_ros.inference.cache import cache_key, cached_file
from camss_ros.inference.export import ExportError, GraphSpec, export_onnx
from camss_ros.model.checkpoint import CONFIG_FILE, ModelError, weights_hash
from camss_ros.model.schedule import SamplingOptions


def model_hash(model: Path) -> str:
    """SHA-256, in hexadecimal, of all that a model directory holds of the network."""
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

    facts = {"model": digest, "spec": spec.facts(), "torch": torch.__version__}
    return cached_file(f"graph-{cache_key(facts)}.onnx", export)


def main(model: str, digest: str, spec: str) -> int:
    """Make the graph at low priority, beside a node that segments; prints its path."""
    os.nice(10)
    torch.set_num_threads(1)
    facts = json.loads(spec)
    sampling = SamplingOptions(**facts["sampling"])
    output_size = facts["output_size"] and tuple(facts["output_size"])
    try:
        print(cached_graph(
            Path(model), digest, GraphSpec(tuple(facts["size"]), sampling, output_size)
        ))  # fmt: skip
    except (ModelError, ExportError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
