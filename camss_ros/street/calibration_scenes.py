"""Synthetic scenes to calibrate int8 on: no data is needed for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from camss_ros import street
from camss_ros.source_hash import source_hash
from camss_ros.street import synthetic

COUNT = 28
# none that `export` compares on
_FIRST_SEED = 10_000


class CalibrationScenes:
    """Iterating draws `COUNT` scenes of every kind, uint8 [360, 480, 3] RGB.

    `name` says which they are, and tells them from those that other code draws.
    """

    name = f"synthetic scenes {_FIRST_SEED} to {_FIRST_SEED + COUNT - 1}, " + source_hash(
        *(Path(source) for source in (__file__, synthetic.__file__, *street.__path__))
    )

    def __iter__(self) -> Iterator[np.ndarray]:
        for seed in range(_FIRST_SEED, _FIRST_SEED + COUNT):
            yield synthetic.random_scene(seed)[0]
