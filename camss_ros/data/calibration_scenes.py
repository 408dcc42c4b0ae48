"""Synthetic scenes to calibrate int8 on: no data is needed for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from camss_ros.data.synthetic import random_scene

COUNT = 28
# none that `export` compares on
_FIRST_SEED = 10_000


class CalibrationScenes:
    """Iterating draws `COUNT` scenes of every kind, uint8 [360, 480, 3] RGB.

    `name` says which they are.
    """

    name = f"synthetic scenes {_FIRST_SEED} to {_FIRST_SEED + COUNT - 1}"

    def __iter__(self) -> Iterator[np.ndarray]:
        for seed in range(_FIRST_SEED, _FIRST_SEED + COUNT):
            yield random_scene(seed)[0]
