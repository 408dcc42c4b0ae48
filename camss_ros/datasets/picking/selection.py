"""Which candidates are picked: unsure and unlike each other, and a share at random.

Those picked by worth come one after the other: each time the frame with the largest product of its
uncertainty and its distance to the nearest one that is picked already (greedy k-centre, Sener and
Savarese, arXiv 1708.00489, weighted by the uncertainty). Those at random are drawn first, each
candidate with the same chance, so that a score on them is one on the drives; the others keep their
distance from them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camss_ros.datasets.picking.candidates import Candidate

# Nearer than this, frames are near-duplicates. By the bundled model, two pictures of a standing car
# with noise of 5 grey values are 0.024 apart, frames of a motorway 0.4 s apart 0.03 and 1 s apart
# 0.04, those of two of CamVid's drives 0.3.
DUPLICATE = 0.03
_ROWS = 4096  # of tokens at a time


@dataclass(frozen=True)
class Pick:
    """A candidate that was picked.

    Attributes:
        index: of the candidate.
        why: "worth" or "random".
        uncertainty: 0 to 1, mean of its ranks among the candidates by entropy, disagreement and
            flicker.
        distance: to the nearest frame picked before, as of `Distances`; None for the first.
        score: what it was picked by, uncertainty times distance; None of a random one.
    """

    index: int
    why: str
    uncertainty: float
    distance: float | None
    score: float | None = None


def select(
    candidates: Sequence[Candidate], count: int, random_share: float, seed: int
) -> list[Pick]:
    """Pick frames: by worth, in its order, then those at random.

    Near-duplicates of what is picked already are not picked by worth, so that there may be fewer.
    The same arguments give the same frames.

    Args:
        candidates: to pick from.
        count: of frames, at most.
        random_share: of the count, 0 to 1.
        seed: of those at random.
    """
    if not candidates:
        return []
    distances = Distances(candidates)
    uncertainty = uncertainties(candidates)
    nearest = np.full(len(candidates), np.inf)
    count = min(count, len(candidates))
    drawn = round(count * random_share)
    at_random: list[Pick] = []
    by_worth: list[Pick] = []
    for index in np.random.default_rng(seed).choice(len(candidates), drawn, replace=False).tolist():
        at_random.append(Pick(index, "random", *_numbers(uncertainty, nearest, index)))
        nearest = np.minimum(nearest, distances.to(index))
    while len(by_worth) < count - drawn:
        worth = uncertainty * np.where(np.isinf(nearest), 1.0, nearest)
        worth[nearest < DUPLICATE] = -1.0
        index = int(worth.argmax())
        if worth[index] < 0:
            break
        numbers = _numbers(uncertainty, nearest, index)
        by_worth.append(Pick(index, "worth", *numbers, float(worth[index])))
        nearest = np.minimum(nearest, distances.to(index))
    return by_worth + at_random


def _numbers(
    uncertainty: np.ndarray, nearest: np.ndarray, index: int
) -> tuple[float, float | None]:
    distance = float(nearest[index])
    return float(uncertainty[index]), None if np.isinf(distance) else distance


class Distances:
    """Between the pooled image tokens of candidates, as a share of their mean length."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._rows = np.stack([candidate.tokens for candidate in candidates])
        self._length = self._norms(np.zeros_like(self._rows[0])).mean() or 1.0

    def to(self, index: int) -> np.ndarray:
        """float64 [n], of each candidate to one of them."""
        return self._norms(self._rows[index]) / self._length

    def _norms(self, centre: np.ndarray) -> np.ndarray:
        found = np.empty(len(self._rows))
        for start in range(0, len(found), _ROWS):  # few at a time in float32
            part = self._rows[start : start + _ROWS].astype(np.float32) - centre
            found[start : start + _ROWS] = np.linalg.norm(part, axis=1)
        return found


def uncertainties(candidates: Sequence[Candidate]) -> np.ndarray:
    """float64 [n], 0 to 1: the mean of a candidate's ranks, of those scores that it has."""
    columns = np.array([(c.entropy, c.disagreement, c.flicker) for c in candidates], float)
    ranks = np.full(columns.shape, np.nan)
    for column, values in enumerate(columns.T):
        known = np.flatnonzero(~np.isnan(values))
        # equal scores have equal ranks
        ordered, inverse = np.unique(values[known], return_inverse=True)
        ranks[known, column] = (inverse + 1) / max(1, len(ordered))
    return np.nanmean(ranks, axis=1)
