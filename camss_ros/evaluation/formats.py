"""Scores as text; those that do not exist are None or NaN."""

from __future__ import annotations

import math


def number(value: float | None, decimals: int = 3, unit: str = "") -> str:
    """A score; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{decimals}f}{unit}"


def percent(value: float | None, unit: str = "") -> str:
    """A share in percent; a dash where there is none."""
    return number(None if value is None else 100 * value, 1, unit)
