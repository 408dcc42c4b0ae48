"""Tables of parameters: type, range, default, description, and when each may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter


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
    default: bool | int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
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


def read_specs(path: Path, checks: Mapping[str, Callable[[Any], str]]) -> tuple[ParameterSpec, ...]:
    """The table of a node, a YAML file: below the name of each `Change` the parameters.

    Args:
        checks: by parameter, what tells why a value is refused.
    """
    specs = []
    for change, rows in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        for name, row in rows.items():
            fields: dict[str, Any] = {
                key: tuple(it) if isinstance(it, list) else it for key, it in row.items()
            }
            specs.append(
                ParameterSpec(name, change=Change[change], check=checks.get(name), **fields)
            )
    return tuple(specs)


class ParameterValues:
    """Values of all parameters at a moment; they do not change."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


class DeclaredParameters(ParameterValues):
    """The declared parameters of a node and their accepted values, as they are now.

    A value that is refused leaves all values as they were, and the setter gets the reason.

    Args:
        specs: the table.
        is_unconfigured: tells whether parameters of `Change.UNCONFIGURED` may change now.

    Raises:
        rclpy.exceptions.ParameterException: a value given at start is of a wrong type or refused.
    """

    def __init__(
        self, node: Node, specs: Sequence[ParameterSpec], is_unconfigured: Callable[[], bool]
    ) -> None:
        super().__init__({spec.name: spec.initial() for spec in specs})
        self._specs = {spec.name: spec for spec in specs}
        self._is_unconfigured = is_unconfigured
        node.add_on_set_parameters_callback(self._on_set)
        for spec in specs:
            node.declare_parameter(spec.name, spec.initial(), spec.descriptor())

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        # rclpy has checked types, ranges and read-only parameters before this.
        accepted: dict[str, Any] = {}
        for parameter in parameters:
            name, value = parameter.name, parameter.value
            if (spec := self._specs.get(name)) is None:
                continue
            if value is None and isinstance(spec.default, tuple):
                value = []  # `[]` in a file has no type
            if problem := spec.problem(value):
                return _refused(problem)
            if spec.change is Change.UNCONFIGURED and not self._is_unconfigured():
                return _refused(f"{name} {spec.change.value}")
            accepted[name] = value
        # One assignment: another thread sees all of the new values or none.
        self._values = {**self._values, **accepted}
        return SetParametersResult(successful=True)


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
