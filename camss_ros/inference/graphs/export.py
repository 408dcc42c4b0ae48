"""The whole way from a frame to its label image as one ONNX graph.

    frame          uint8 [height, width, 3] RGB at the working size
    noise          float32 [count, samples, tokens, channels], where the temperature is not 0
    latents        } of the frame before (`model/warm_start.py`), where there is a warm start
    picture        }
 -> labels         uint8 [H, W] class ids, 255 is void
    confidence     uint8 [H, W] probability of the class times 255
 or probabilities  float32 [classes, height, width], or in tiles as of `model/tiles.py`
    argmax         uint8 [height, width] the most likely class
    likelihood     float32 [height, width] its probability
and latents        } for the next frame, where there is a warm start
    picture        }

The sampling loop is unrolled, so that a graph is made for one number of steps. Frames of another
size are resized before it, by the function that PyTorch uses (`frame_ops.resize_frame`): it is
anti-aliased, which the runtimes do each in their own way.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camss_ros.errors import CamssError
from camss_ros.extras import pip_install, without_telemetry
from camss_ros.inference.frame_ops import argmax_at, class_count, find_argmax
from camss_ros.model.camseg import CamSeg
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FrameState

OPSET = 20


class ExportError(CamssError):
    """A graph cannot be made, or does not do what the network does; the message says why."""


@dataclass(frozen=True)
class GraphSpec:
    """What the operations and shapes of a graph depend on.

    Attributes:
        size: (height, width) of the frame, multiples of the network's stride.
        sampling: with one iteration. A graph fits every temperature above 0.
        output_size: (height, width) of labels and confidence; None for probabilities.

    Raises:
        ValueError: several iterations.
    """

    size: tuple[int, int]
    sampling: SamplingOptions
    output_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.sampling.iterations != 1:
            raise ValueError(
                "iterative decoding cannot be exported: its number of known tokens changes from "
                "pass to pass; use iterations 1, or backend torch"
            )
        # the noise comes scaled, so that graphs differ in whether there is any
        temperature = 1.0 if self.sampling.temperature > 0 else 0.0
        sampling = dataclasses.replace(self.sampling, temperature=temperature, order="confidence")
        object.__setattr__(self, "sampling", sampling)

    @property
    def outputs(self) -> list[str]:
        """Names of what a graph returns, in its order."""
        own = ["probabilities", "argmax", "likelihood"]
        if self.output_size is not None:
            own = ["labels", "confidence"]
        return [*own, *(FrameState._fields if self.sampling.warm_start_time else ())]

    def metadata(self) -> dict[str, Any]:
        """JSON values that tell one graph from another."""
        return dataclasses.asdict(self)


class FrameGraph(nn.Module):
    """What is exported: a pure function of a frame, its noise and what the frame before left.

    Args:
        network: in float32 on the CPU, in evaluation mode.
        spec: what for.

    Raises:
        ValueError: sides that are no multiples of the network's stride.
    """

    def __init__(self, network: CamSeg, spec: GraphSpec) -> None:
        super().__init__()
        stride = network.stride
        if spec.size[0] % stride or spec.size[1] % stride:
            raise ValueError(f"the size {spec.size} must be multiples of {stride}")
        self.network = network
        self.spec = spec
        self.plan = network.plan(spec.sampling)
        self.grid = (spec.size[0] // stride, spec.size[1] // stride)

    def example(self) -> dict[str, Tensor]:
        """Inputs by name, in their order: a black frame that follows none.

        Returns:
            `frame`, uint8 [height, width, 3]; where it draws any, `noise`, float32 [noise_count,
            samples, tokens, latent_channels]; with a warm start the fields of a `FrameState`.
        """
        network, samples = self.network, self.spec.sampling.samples
        inputs = {"frame": torch.zeros(*self.spec.size, 3, dtype=torch.uint8)}
        if self.plan.noise_count:
            tokens = self.grid[0] * self.grid[1]
            shape = (self.plan.noise_count, samples, tokens, network.latent_channels)
            inputs["noise"] = torch.zeros(shape)
        if self.plan.warm is not None:
            blank = FrameState.blank(
                samples, network.latent_channels, self.spec.size, network.stride, network.device
            )
            inputs.update(blank._asdict())
        return inputs

    def forward(self, frame: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Outputs as the module's docstring has them, in the order of `GraphSpec.outputs`.

        Args:
            frame: uint8 [height, width, 3] RGB.
            others: the other inputs of `example`.
        """
        network, samples = self.network, self.spec.sampling.samples
        given = list(others)
        noise = given.pop(0) if self.plan.noise_count else None
        images = frame.float().permute(2, 0, 1)[None]
        token_map = network.image_tokens(network.normalize(images))
        # the grid as numbers: sizes of traced tensors are no constants
        condition = network.transformer(token_map.flatten(2).transpose(1, 2), self.grid)
        left: tuple[Tensor, ...] = ()
        if self.plan.warm is None:
            latents = network.draw_from(condition, self.grid, self.plan, noise=noise)
        else:
            previous = FrameState(*given)
            picture = network.steady_tokens.picture(images)
            steady = network.steady_tokens(picture, previous.picture[None])
            latents = network.draw_from(
                condition, self.grid, self.plan, None, noise, previous.latents, steady
            )
            left = FrameState(latents, picture[0])
        probabilities = network.average_samples(network.decode_tiled(latents), samples)
        if self.spec.output_size is None:
            argmax, likelihood = find_argmax(probabilities, traced=True)
            return probabilities[0], _bytes(argmax), likelihood, *left
        void_last = class_count(probabilities) > len(network.config.label_set)
        labels, confidence = argmax_at(probabilities, self.spec.output_size, void_last, traced=True)
        return _bytes(labels), _bytes((confidence * 255.0).round()), *left


def _bytes(values: Tensor) -> Tensor:
    """uint8, which TensorRT has at the ends of a graph only, and makes of floats alone."""
    return values.float().to(torch.uint8)


def export_onnx(network: CamSeg, spec: GraphSpec, path: Path) -> None:
    """Write the graph of `spec` to `path`.

    Args:
        network: in float32 on the CPU, in evaluation mode.

    Raises:
        ValueError: a size that the network does not take.
        ExportError: onnx cannot be imported, or PyTorch cannot export the network.
    """
    try:
        import onnx
    except Exception as error:  # as that of another protobuf raises
        message = f"the export needs the Python package onnx ({error}): {pip_install('onnx')}"
        raise ExportError(message) from error

    graph = FrameGraph(network, spec).eval()
    inputs = graph.example()
    # an input and an output of a graph may not have one name
    outputs = [f"next_{name}" if name in inputs else name for name in spec.outputs]
    with torch.no_grad(), _quiet():
        # position tables are computed here, and so are constants to the trace
        graph(*inputs.values())
        try:
            # The exporter by tracing: it needs one package less than its successor, is many times
            # faster on an unrolled loop, and is the same in PyTorch 2.5, which a Jetson has.
            torch.onnx.export(
                graph,
                tuple(inputs.values()),
                str(path),
                input_names=list(inputs),
                output_names=outputs,
                opset_version=OPSET,
                dynamo=False,
            )
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            raise ExportError(f"PyTorch {torch.__version__} cannot export: {error}") from error
    _describe(onnx, path, network, spec)


def save_openvino(graph: Any, path: Path) -> None:
    """Write an `openvino.Model`, or the ONNX file of one, as OpenVINO's `path`.xml and .bin.

    Weights in float32 stay so.
    """
    with without_telemetry():
        import openvino

    model = openvino.Core().read_model(graph) if isinstance(graph, Path) else graph
    openvino.save_model(model, path, compress_to_fp16=False)


def _describe(onnx: Any, path: Path, network: CamSeg, spec: GraphSpec) -> None:
    """Tell in the file itself what it is; its weights, beside it if large, are left alone."""
    model = onnx.load(str(path), load_external_data=False)
    labels = {label.id: label.name for label in network.config.label_set}
    metadata = {"model": network.config.name, "labels": labels, **spec.metadata()}
    if spec.sampling.temperature > 0:  # it is in the noise, whatever it is
        metadata["sampling"]["temperature"] = "above 0"
    onnx.helper.set_model_props(model, {"camss_ros": json.dumps(metadata)})
    onnx.save(model, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's warnings: every shape that it takes for a constant is one."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
