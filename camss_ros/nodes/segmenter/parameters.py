"""Every parameter of the node (`parameters.yaml`): its type and values, and when it may change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec
    from camss_ros.model.schedule import SamplingOptions

_STRIDE = 16  # `inference/network_size.py` has it too, but imports torch
_CAMERA_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


class Change(Enum):
    """When a parameter may change."""

    NEVER = "cannot change while the node runs"
    RELOAD = "takes effect when a model is loaded: at configuration or by ~/reload_model"
    UNCONFIGURED = "changes only while the node is unconfigured: clean it up first"
    ALWAYS = "may change at any time"


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter. `default` fixes the type, and the length of an array of numbers; `bounds` are
    inclusive; `check` tells why a value is refused."""

    name: str
    default: bool | int | float | str | tuple[int, ...] | tuple[str, ...]
    description: str
    change: Change
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    check: Callable[[Any], str] | None = None

    def descriptor(self) -> ParameterDescriptor:
        """The description for `ros2 param describe`, with ranges that rclpy enforces."""
        descriptor = ParameterDescriptor(
            name=self.name,
            type=Parameter.Type.from_parameter_value(self.initial()).value,
            description=self.description,
            additional_constraints=f"one of: {', '.join(self.choices)}" if self.choices else "",
            read_only=self.change is Change.NEVER,
        )
        if self.bounds is not None and not isinstance(self.default, tuple):
            low, high = self.bounds
            if isinstance(self.default, float):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(low), to_value=float(high))
                ]
            else:
                descriptor.integer_range = [
                    IntegerRange(from_value=int(low), to_value=int(high), step=1)
                ]
        return descriptor

    def initial(self) -> bool | int | float | str | list[Any]:
        """The default as rclpy takes it."""
        return list(self.default) if isinstance(self.default, tuple) else self.default

    def type_name(self) -> str:
        """The type, as `ros2 param describe` has it."""
        return Parameter.Type.from_parameter_value(self.initial()).name.lower().replace("_", " ")

    def problem(self, value: Any) -> str:
        """Why a value of the right type is refused; empty if it is not."""
        if self.check is not None and (problem := self.check(value)):
            return f"{self.name} {problem}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}"
        if self.bounds is not None:
            low, high = self.bounds
            if not isinstance(self.default, tuple):
                in_range = low <= value <= high
                return "" if in_range else f"{self.name} must be from {low} to {high}, not {value}"
            if len(value) != len(self.default) or not all(low <= v <= high for v in value):
                return (
                    f"{self.name} must be {len(self.default)} numbers from {low} to {high}, "
                    f"not {list(value)}"
                )
        return ""


def camera_names(value: Sequence[str] | None) -> tuple[str, ...]:
    """The parameter `cameras` without empty names. None: `[]` in a file, which has no type."""
    return tuple(name for name in value or () if name)


def camera_names_problem(value: Sequence[str] | None) -> str:
    """Why this is no value of the parameter `cameras`; empty if it is one."""
    names = camera_names(value)
    for name in names:
        if not _CAMERA_NAME.fullmatch(name) or "__" in name:
            return (
                "must be names that topics may begin with, of letters, digits, _ and / between "
                f"them, not {name!r}"
            )
    return "" if len(set(names)) == len(names) else f"must differ from each other: {list(names)}"


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


def _read_specs() -> Iterator[ParameterSpec]:
    table = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    for change, rows in table.items():
        for name, row in rows.items():
            fields: dict[str, Any] = {
                key: tuple(it) if isinstance(it, list) else it for key, it in row.items()
            }
            yield ParameterSpec(name, change=Change[change], check=_CHECKS.get(name), **fields)


SPECS = tuple(_read_specs())


class ParameterValues:
    """Values of all parameters at a moment; they do not change."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

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

        values = self._values
        return SegmenterSpec(
            values["model"],
            self.sampling(),
            values["seed"],
            values["device"],
            values["precision"],
            values["backend"],
            self.network_size(),
        )

    def sampling(self) -> SamplingOptions:
        """The sampling options."""
        from camss_ros.model.schedule import SamplingOptions  # imports torch: only when needed

        values = self._values
        return SamplingOptions(
            steps=values["steps"],
            sampler=values["sampler"],
            samples=values["samples"],
            temperature=values["temperature"],
            warm_start_time=values["warm_start_time"],
        )


def node_parameters(spec: SegmenterSpec) -> dict[str, Any]:
    """The parameters of a node that segments as `spec` says: what `segmenter_spec` is made from.

    First timestep, iterations and their order are not among them. Raises ValueError for a value
    that the node refuses.
    """
    height, width = spec.network_size or (0, 0)
    wanted = {**asdict(spec.sampling), **asdict(spec), "network_size": (width, height)}
    wanted["model"] = str(spec.model)
    found = {each.name: wanted[each.name] for each in SPECS if each.name in wanted}
    for each in SPECS:
        if each.name in found and (problem := each.problem(found[each.name])):
            raise ValueError(f"the node refuses this: {problem}")
    return found


class NodeParameters(ParameterValues):
    """The declared parameters of a node and their accepted values, as they are now.

    `is_unconfigured` tells whether parameters of `Change.UNCONFIGURED` may change now. A value
    that is refused leaves all values as they were, and the setter gets the reason.

    Raises:
        rclpy.exceptions.ParameterException: a value given at start is of a wrong type or refused.
    """

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        super().__init__({spec.name: spec.initial() for spec in SPECS})
        self._specs = {spec.name: spec for spec in SPECS}
        self._is_unconfigured = is_unconfigured
        node.add_on_set_parameters_callback(self._on_set)
        for spec in SPECS:
            node.declare_parameter(spec.name, spec.initial(), spec.descriptor())

    def snapshot(self) -> ParameterValues:
        """The values as they are now, for what must not see later ones."""
        return ParameterValues(self._values)

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        # rclpy has checked types, ranges and read-only parameters before this.
        accepted = {p.name: p.value for p in parameters if p.name in self._specs}
        for name, value in accepted.items():
            spec = self._specs[name]
            if problem := spec.problem(value):
                return _refused(problem)
            if spec.change is Change.UNCONFIGURED and not self._is_unconfigured():
                return _refused(f"{name} {spec.change.value}")
        # One assignment: the inference thread sees all of the new values or none.
        self._values = {**self._values, **accepted}
        return SetParametersResult(successful=True)


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
