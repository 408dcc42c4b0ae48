"""The options that describe a segmenter, the same in all commands that open one."""

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from camss_ros.commands.options import DEVICE, fail, parse_size
from camss_ros.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from rich.status import Status

    from camss_ros.inference.spec import SegmenterSpec
else:
    SegmenterSpec = Any  # a type for the commands; its module imports PyTorch

Command = Callable[..., None]

TWIN = typer.Option(None, help="Its discriminative twin (`train twin`), scored on the same images.")

# Names for `segmenter_options`.
NETWORK = ("model", "device", "precision", "backend", "network_size")
SAMPLING = ("steps", "sampler", "temperature", "samples", "seed")
DECODING = ("start", "iterations", "order")


def _make_spec(
    model: str = typer.Option("camss-tiny", help="Bundled name, directory or Hub id."),
    steps: int = typer.Option(1, help="Denoiser evaluations for a token, 1 to 1000."),
    sampler: str = typer.Option("ddim", "--sampler", help="ddim, dpm++2m or ddpm."),
    start: int = typer.Option(950, help="First timestep, 1 to 999."),
    temperature: float = typer.Option(0.0, help="Factor of the noise; 0 walks to the mode."),
    samples: int = typer.Option(1, help="Samples averaged for a frame."),
    iterations: int = typer.Option(1, help="Masked-autoregressive passes."),
    order: str = typer.Option(
        "confidence", "--order", help="Order of the passes: confidence or random."
    ),
    warm_start_time: int = typer.Option(
        0,
        help="With --clip: timestep, 1 to 999, from which each frame goes on from the latents of "
        "the one before. 0: none does.",
    ),
    keyframe_interval: int = typer.Option(
        1,
        min=1,
        help="With --clip: the network runs on every so many frames; the others have the labels "
        "of the frame before, carried along by the optical flow.",
    ),
    seed: int = typer.Option(0, min=0, max=LARGEST_SEED, help="Of the noise."),
    device: str = DEVICE,
    precision: str = typer.Option("auto", help="auto, fp32, bf16, fp16 or int8 (openvino)."),
    backend: str = typer.Option(
        "torch",
        "--backend",
        help="auto, torch, compile, onnxruntime, openvino or tensorrt (docs/speed.md).",
    ),
    network_size: Optional[str] = typer.Option(
        None,
        metavar="WIDTHxHEIGHT",
        help="Of the frames in the network, multiples of 16; default: the model's own.",
    ),
) -> SegmenterSpec:
    """Raises ValueError for a value out of range."""
    from camss_ros.inference.spec import SegmenterSpec
    from camss_ros.model.schedule import SamplingOptions

    sampling = SamplingOptions(
        steps=steps,
        sampler=sampler,  # type: ignore[arg-type]  # checked there
        start=start,
        temperature=temperature,
        samples=samples,
        iterations=iterations,
        order=order,  # type: ignore[arg-type]  # checked there
        warm_start_time=warm_start_time,
    )
    size = None if network_size is None else parse_size("--network-size", network_size)
    return SegmenterSpec(model, sampling, seed, device, precision, backend, size, keyframe_interval)


def segmenter_options(*names: str, **defaults: Any) -> Callable[[Command], Command]:
    """Give a command the named options that describe a segmenter.

    They stand in the place of its keyword-only parameter `spec`, which gets the `SegmenterSpec`
    that they make. A value out of range ends the command as `fail`, before its work.

    Args:
        names: parameters of `_make_spec`; the others keep their defaults.
        defaults: other default values, by name.
    """
    options = {
        name: _with_default(parameter, defaults)
        for name, parameter in inspect.signature(_make_spec).parameters.items()
    }
    unnamed = {name: each.default.default for name, each in options.items() if name not in names}
    offered = [each for name, each in options.items() if name in names]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            given = {each.name: values.pop(each.name) for each in offered}
            try:
                spec = _make_spec(**unnamed, **given)
            except ValueError as error:
                fail(error)
            command(**values, spec=spec)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            parameters += offered if parameter.name == "spec" else [_by_keyword(parameter)]
        # what typer reads of a function
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_options

    return decorate


def waiting_for_backend() -> "Status":
    """Says on a terminal, while a segmenter is opened, why that may take long."""
    from rich.console import Console

    return Console(stderr=True).status(
        "opening the model; the first time its backends are measured, for about a minute"
    )


def named_backend(described: dict[str, Any]) -> str:
    """What segments, of what `SegmenterSpec.describe` says: "openvino in bfloat16"."""
    model = described["model"]
    return f"{model['backend']} in {model['dtype']}"


def scored_model(spec: SegmenterSpec, *more: str) -> dict[str, str]:
    """What scores depend on of a model, as JSON values: its name, the hash of its weights, and
    `more` entries of `SegmenterSpec.describe`."""
    model = spec.describe()["model"]
    return {key: model[key] for key in ("name", "sha256", *more)}


def with_twin(spec: SegmenterSpec, twin: Optional[Path]) -> dict[str, SegmenterSpec]:
    """The spec as "model" and, where there is one, that of its "twin", by role."""
    specs = {"model": spec}
    if twin is not None:
        # only PyTorch runs a twin
        specs["twin"] = dataclasses.replace(spec, model=str(twin), backend="torch")
    return specs


def _with_default(option: inspect.Parameter, defaults: dict[str, Any]) -> inspect.Parameter:
    info = copy.copy(option.default)
    info.default = defaults.get(option.name, info.default)
    return _by_keyword(option.replace(default=info))


def _by_keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
