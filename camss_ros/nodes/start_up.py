"""What users give a node at its start: ROS arguments, with one line on wrong ones; parameters."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter

# What rclpy.init and the constructor of a node raise for wrong arguments.
START_ERRORS = (
    rclpy_implementation.RCLError,
    rclpy_implementation.UnknownROSArgsError,
    NameValidationException,
    ParameterException,
    ImportError,
)
_EXPECTED = {
    "remap rule": "NAME:=NAME of letters, digits, _ and /, such as -r image:=/camera/image_raw or "
    "-r __ns:=/front",
    "params file": "a YAML file with the name of the node, or /**, below it ros__parameters, and "
    "below that the parameters, one type in a list: [1.4, 2.0], not [1.4, 2]",
    "parameter override rule": "NAME:=VALUE, such as -p steps:=2, and one type in a list",
    "log level": "debug, info, warn, error or fatal, such as --log-level segmenter:=debug",
}
# Where it was found in rcl, and what its lexer says: nothing for users.
_INTERNAL = re.compile(
    r"failed to initialize rcl: |,? at \S+\.c(pp)?:\d+|\. Error: (Expected lexeme.*|error not set)"
)


def start_problem(error: Exception) -> str:
    """Why a node cannot start, from one of START_ERRORS: a line that names what was expected."""
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f"unknown ROS arguments {error}: expected those of `ros2 run`, such as -r, -p"
    text = " ".join(_INTERNAL.sub("", str(error)).split())
    for kind, expected in _EXPECTED.items():
        if f"Couldn't parse {kind}" in text:
            return f"{text}. Expected {expected}"
    return text


class GivenParameters(Node):
    """A node whose own parameters may be given back to it, and that tells of unknown ones."""

    def warn_of_unknown_parameters(self) -> None:
        """Log which of the given parameters have not been declared: ROS ignores them silently."""
        declared = list(self._parameters)
        for name in sorted(set(self._parameter_overrides) - set(declared)):
            close = difflib.get_close_matches(name, declared, 1)
            hint = f": did you mean '{close[0]}'?" if close else ""
            self.get_logger().warning(f"unknown parameter '{name}' is ignored{hint}")

    def set_parameters_atomically(self, parameter_list: Sequence[Parameter]) -> SetParametersResult:
        """Set all or none, as rclpy does. A value that stays as it is, is accepted always, that of
        a read-only parameter too: `ros2 param load` of what `ros2 param dump` wrote."""
        changed = [parameter for parameter in parameter_list if not self._is_unchanged(parameter)]
        if not changed:
            return SetParametersResult(successful=True)
        return super().set_parameters_atomically(changed)

    def _is_unchanged(self, parameter: Parameter) -> bool:
        name = parameter.name
        if not self.has_parameter(name):
            return False
        known = self.get_parameter_or(name)  # that of `[]` in a file has no type, and no value
        return bool(known.get_parameter_value() == parameter.get_parameter_value())
