"""What is wrong with a parameter's value, where its type and range do not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
