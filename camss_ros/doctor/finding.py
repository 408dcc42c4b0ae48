"""What a check has found, and what to do about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Level = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """The result of one check, fit to be shown to others.

    Attributes:
        check: what was looked at.
        level: OK; WARN: the node works, but less well; FAIL: it would not work.
        text: what was found. The home directory is written as ~, here and in the advice.
        advice: what to do; empty where nothing is.
    """

    check: str
    level: Level
    text: str
    advice: str = ""

    def __post_init__(self) -> None:
        home = os.path.expanduser("~")  # "~" where there is none
        for name in ("text", "advice") if home != "/" else ():
            object.__setattr__(self, name, getattr(self, name).replace(home, "~"))
