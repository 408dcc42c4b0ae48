"""The classes a model tells apart. Free of PyTorch: cameras and readers use it too."""

from dataclasses import dataclass

VOID = 255
"""Class id of pixels that belong to no class."""


@dataclass(frozen=True)
class LabelClass:
    """One class of a label set: `id` 0 .. n - 1, `name`, `color` as RGB 0-255."""

    id: int
    name: str
    color: tuple[int, int, int]
