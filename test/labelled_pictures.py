"""Random pictures with labels, in the layout of CamVid."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def write_pictures(
    root: Path,
    shape: tuple[int, int],
    names: Iterable[str] = ("a",),
    classes: int = 11,
    brightness: int = 256,
    splits: Iterable[str] = ("val",),
) -> Path:
    """Every split has pictures of these names; no value reaches `classes` or `brightness`."""
    rng = np.random.default_rng(0)
    for split in splits:
        for kind, size, high in (("images", (*shape, 3), brightness), ("labels", shape, classes)):
            (root / split / kind).mkdir(parents=True)
            for name in names:
                pixels = rng.integers(0, high, size, np.uint8)
                cv2.imwrite(str(root / split / kind / f"{name}.png"), pixels)
    return root
