"""Post-training quantization of a graph by NNCF: convolutions and matrix products in int8.

Softmax, norms and sums stay in floats, and so does what this would cost points in: the denoiser,
whose error every step passes on to the next, what it is conditioned on, the comparison with the
frame before, and the layer that an official model's colours come from.
"""

from __future__ import annotations

import logging
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from camss_ros.extras import without_telemetry
from camss_ros.inference.frame_ops import resize_frame, upload_frame
from camss_ros.inference.graphs.export import save_openvino
from camss_ros.model.warm_start import FAR, FrameState

# Regular expressions for names in the ONNX graph: of modules, numbered from their second call on.
FLOAT_LAYERS = (
    r"/denoiser(_\d+)?/.*",
    r"/cond_embed/.*",
    r".*decoder/conv_out/.*",
    r"/steady_tokens(_\d+)?/.*",
)


def quantize(graph: Path, frames: Iterable[np.ndarray]) -> Any:
    """An ONNX graph as a quantized `openvino.Model`.

    Takes Python's lock for long: not to be called beside a thread that segments.

    Args:
        graph: of `export_onnx`.
        frames: uint8 [H, W, 3] RGB, from which the ranges of the values are taken.
    """
    with without_telemetry():
        import openvino

    nncf = _import_nncf()
    model = openvino.Core().read_model(graph)
    shapes = {each.any_name: tuple(each.shape) for each in model.inputs}
    size = shapes["frame"][0], shapes["frame"][1]
    # every frame is the first: what it would begin from goes through layers in floats only
    blank = {
        name: np.full(shape, FAR if name == "picture" else 0.0, np.float32)
        for name, shape in shapes.items()
        if name in FrameState._fields
    }
    rng = np.random.default_rng(0)

    def inputs(frame: np.ndarray) -> dict[str, np.ndarray]:
        resized = resize_frame(upload_frame(frame, torch.device("cpu")), size)[0].permute(1, 2, 0)
        given = {"frame": resized.contiguous().numpy(), **blank}
        if "noise" in shapes:
            given["noise"] = rng.standard_normal(shapes["noise"], np.float32)
        return given

    items = [inputs(frame) for frame in frames]
    return nncf.quantize(
        model,
        nncf.Dataset(items),
        subset_size=len(items),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(patterns=list(FLOAT_LAYERS), validate=False),
        # weights of half the range: processors without VNNI add products of 8 bits in 16, which
        # full ones exceed, and a graph may be carried to such a processor
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )


def write_archive(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as one file: its .xml and .bin in a ZIP archive."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "graph.xml"
        save_openvino(model, written)
        with zipfile.ZipFile(path, "w") as archive:
            for part in (written, written.with_suffix(".bin")):
                archive.write(part, part.name)


def read_archive(core: Any, path: Path) -> Any:
    """The `openvino.Model` that `write_archive` wrote."""
    with zipfile.ZipFile(path) as archive:
        return core.read_model(archive.read("graph.xml"), archive.read("graph.bin"))


def _import_nncf() -> ModuleType:
    """NNCF, quiet."""
    with without_telemetry():
        import nncf

    # not by its set_log_level, which also changes handlers that others gave the logger
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
