"""Checks of the sizes of layers."""

from __future__ import annotations


def check_sizes(config: object, **least: int) -> None:
    """Raise ValueError where an entry of a configuration, or one of several, is below its least."""
    for name, low in least.items():
        value = getattr(config, name)
        for each in value if isinstance(value, tuple) else (value,):
            if each < low:
                raise ValueError(f"{name} must be {low} or more, not {each}")
