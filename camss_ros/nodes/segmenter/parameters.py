"""Every parameter of the segmenter (`parameters.yaml`): its values, and when it may change."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rclpy.node import Node

from camss_ros.nodes import parameter_table
from camss_ros.nodes.camera_names import camera_names, camera_names_problem
from camss_ros.nodes.parameter_table import DeclaredParameters, read_specs

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec
    from camss_ros.model.schedule import SamplingOptions

_STRIDE = 16  # `inference/network_size.py` has it too, but imports torch


def model_problem(value: str) -> str:
    """Why this is no value of the parameter `model`; empty if it is one."""
    return "" if value.strip() else "must name a model, or be the directory of one, not empty"


def device_problem(value: str) -> str:
    """Why this is no value of the parameter `device`; empty if it is one."""
    known = re.fullmatch(r"auto|cpu|cuda(:\d+)?", value, re.ASCII)
    return "" if known else f"must be auto, cpu, cuda or cuda:N, not {value!r}"


def network_size_problem(value: Sequence[int]) -> str:
    """Why this is no value of the parameter `network_size`; empty if it is one."""
    if all(side == 0 for side in value):
        return ""
    if all(side > 0 and side % _STRIDE == 0 for side in value):
        return ""
    return f"must be two multiples of {_STRIDE}, or 0 and 0, not {list(value)}"


_CHECKS: dict[str, Callable[[Any], str]] = {
    "cameras": camera_names_problem,
    "model": model_problem,
    "device": device_problem,
    "network_size": network_size_problem,
}

SPECS = read_specs(Path(__file__).with_suffix(".yaml"), _CHECKS)


class ParameterValues(parameter_table.ParameterValues):
    """Values of all parameters at a moment; they do not change."""

    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras; none for one without a name."""
        return camera_names(self._values["cameras"])

    def network_size(self) -> tuple[int, int] | None:
        """(height, width) of the images in the network; None: the model's own."""
        width, height = self._values["network_size"]
        return (height, width) if width or height else None

    def segmenter_spec(self) -> SegmenterSpec:
        """How the segmenter is opened."""
        from camss_ros.inference.spec import SegmenterSpec  # imports torch: only when needed

        named = ("model", "seed", "device", "precision", "backend", "keyframe_interval")
        given = {name: self._values[name] for name in named}
        return SegmenterSpec(**given, sampling=self.sampling(), network_size=self.network_size())

    def sampling(self) -> SamplingOptions:
        """The sampling options."""
        from camss_ros.model.schedule import SamplingOptions  # imports torch: only when needed

        named = ("steps", "sampler", "samples", "temperature", "warm_start_time")
        return SamplingOptions(**{name: self._values[name] for name in named})


def node_parameters(spec: SegmenterSpec) -> dict[str, Any]:
    """The parameters of a node that segments as `spec` says: what `segmenter_spec` is made from.

    First timestep, iterations and their order are not among them.

    Raises:
        ValueError: the node refuses a value.
    """
    height, width = spec.network_size or (0, 0)
    wanted = {**asdict(spec.sampling), **asdict(spec), "network_size": (width, height)}
    wanted["model"] = str(spec.model)
    found = {each.name: wanted[each.name] for each in SPECS if each.name in wanted}
    for each in SPECS:
        if each.name in found and (problem := each.problem(found[each.name])):
            raise ValueError(f"the node refuses this: {problem}")
    return found


class NodeParameters(DeclaredParameters, ParameterValues):
    """The declared parameters of a segmenter; see `DeclaredParameters`."""

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        super().__init__(node, SPECS, is_unconfigured)

    def snapshot(self) -> ParameterValues:
        """The values as they are now, for what must not see later ones."""
        return ParameterValues(self._values)
