"""Dataclasses from JSON or YAML, with everything that does not fit named by its path.

pydantic would do, but has other messages, wants its configuration on every dataclass, and is one
more dependency of a ROS installation; so are dacite and cattrs.
"""

import dataclasses
import math
import types
import typing


def _member(kinds: tuple[typing.Any, ...], value: typing.Any, where: str) -> typing.Any:
    """The member of a union that `value` is of; dataclasses are told apart by their entries."""
    if value is None and type(None) in kinds:
        return type(None)
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return others[0]
    entries = set(value) if isinstance(value, dict) else set()
    for kind in others:
        if entries <= {field.name for field in dataclasses.fields(kind)}:
            return kind
    known = " or ".join(str([field.name for field in dataclasses.fields(kind)]) for kind in others)
    raise ValueError(f"{where} must have the entries {known}, not {sorted(entries, key=str)}")


def decode(kind: typing.Any, value: typing.Any, where: str = "") -> typing.Any:
    """Rebuild a dataclass from the dictionaries, lists and numbers of JSON or YAML.

    Args:
        kind: dataclass, tuple, union, literal or plain type to rebuild.
        value: what was read.
        where: dotted path of `value`, for messages.

    Raises:
        ValueError: an entry is missing, unknown or of another type, or the dataclass refuses it;
            the message gives its path.
    """
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ValueError(f"{where or 'the file'} must be an object, not {value!r}")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints), key=str)  # YAML has keys of all types
        required = {
            field.name
            for field in dataclasses.fields(kind)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        missing = sorted(required - set(value))
        found = {"has unknown entries": unknown, "lacks": missing}
        if problems := [f"{what} {names}" for what, names in found.items() if names]:
            raise ValueError(f"{where or 'the top level'} {', '.join(problems)}")
        entries = {k: decode(hints[k], v, f"{where}.{k}".lstrip(".")) for k, v in value.items()}
        try:
            return kind(**entries)
        except ValueError as error:
            raise ValueError(f"{where}: {error}" if where else str(error)) from error
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return decode(_member(arguments, value, where), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list, not {value!r}")
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise ValueError(f"{where} must have {len(arguments)} entries, not {len(value)}")
        return tuple(
            decode(part, item, f"{where}[{index}]")
            for index, (part, item) in enumerate(zip(arguments, value, strict=True))
        )
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where} must be one of {list(arguments)}, not {value!r}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, not {value}")
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{where} must be of type {kind.__name__}, not {value!r}")
    return value
