"""The parameter `cameras` of the nodes: names that the topics of each camera begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CAMERA_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


def camera_names(value: Sequence[str]) -> tuple[str, ...]:
    """The parameter `cameras` without empty names."""
    return tuple(name for name in value if name)


def camera_names_problem(value: Sequence[str]) -> str:
    """Why this is no value of the parameter `cameras`; empty if it is one."""
    names = camera_names(value)
    for name in names:
        if not _CAMERA_NAME.fullmatch(name) or "__" in name:
            return (
                "must be names that topics may begin with, of letters, digits, _ and / between "
                f"them, not {name!r}"
            )
    return "" if len(set(names)) == len(names) else f"must differ from each other: {list(names)}"
