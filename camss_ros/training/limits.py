"""Checks of the numbers in a configuration; each raises ValueError that names the entry."""

from __future__ import annotations


def at_least(name: str, value: float, low: float) -> None:
    """Refuse what is below `low`."""
    if not value >= low:
        raise ValueError(f"{name} must be {low} or more, not {value}")


def above_zero(name: str, value: float) -> None:
    """Refuse what is not above 0."""
    if not value > 0:
        raise ValueError(f"{name} must be above 0, not {value}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Refuse what is not from `low` to `high`."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")
