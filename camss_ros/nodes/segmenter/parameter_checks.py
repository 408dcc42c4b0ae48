"""What is wrong with a parameter's value, where its type and range do not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

_STRIDE = 16  # `inference/network_size.py` has it too, but imports torch
_CAMERA_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


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
