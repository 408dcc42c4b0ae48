"""Two models on the same frames: how far their scores differ, and how sure that is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from camss_ros.evaluation.metrics import ratio

MIOU, ACCURACY = "miou", "pixel_accuracy"
RESAMPLES = 2000
_LEVEL = 95.0  # % of an interval
_LEAST_BLOCKS = 5
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_REQUIREMENT = re.compile(rf"\s*(\S.*?)\s*>=\s*({_NUMBER})\s*")


@dataclass(frozen=True)
class Difference:
    """A score of both models; 0 to 1, NaN where a class does not occur.

    Attributes:
        first, second: of each model.
        low, high: 95 % interval of second - first.
    """

    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """What the second gains."""
        return self.second - self.first


class PairedCounts:
    """What frames count for the IoU of each class, by model: 48 bytes a frame and class."""

    def __init__(self) -> None:
        self._frames: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """The next frame: its confusion matrix of each model, as `ScoreAccumulator.confusion`."""
        self._frames.append(np.stack([_counts(first), _counts(second)]))

    def differences(
        self,
        classes: Sequence[str],
        block: int,
        chosen: Sequence[int] | None = None,
        resamples: int = RESAMPLES,
    ) -> dict[str, Difference]:
        """mIoU, pixel accuracy and the IoU of each class, by name.

        The interval is that of a paired bootstrap (Efron, 1979) over blocks of neighbouring frames
        (circular blocks: Politis and Romano, 1992), because frames of a drive resemble their
        neighbours: both models are scored on the same frames, drawn again and again.

        Args:
            classes: names.
            block: frames of one, at least 1; a fifth of all frames at most, since one block of all
                would always be the same.
            chosen: indices of the frames, in order; all by default.
            resamples: how often they are drawn.
        """
        indices = range(len(self)) if chosen is None else chosen
        frames = np.stack([self._frames[index] for index in indices])
        whole = _scores(frames.sum(axis=0)[None])[0]
        block = min(block, max(1, len(frames) // _LEAST_BLOCKS))
        weights = _weights(len(frames), block, resamples)
        sums = weights @ frames.reshape(len(frames), -1).astype(np.float64)
        drawn = _scores(sums.reshape(-1, *frames.shape[1:]))
        low, high = _interval(drawn[:, 1] - drawn[:, 0])
        names = (MIOU, ACCURACY, *classes)
        return {
            name: Difference(*map(float, (whole[0, i], whole[1, i], low[i], high[i])))
            for i, name in enumerate(names)
        }


def parse_requirements(text: str) -> dict[str, float]:
    """Limits by score: "miou>=-0.005, person>=-0.01" -> {"miou": -0.005, "person": -0.01}.

    Raises ValueError that says what is no requirement.
    """
    limits = {}
    for part in text.split(","):
        match = _REQUIREMENT.fullmatch(part)
        if match is None:
            raise ValueError(
                f"{part.strip()!r} is no requirement: expected such as miou>=-0.005, "
                "person>=-0.01, the least difference to the first model"
            )
        limits[match[1]] = float(match[2])
    return limits


def check_names(limits: Mapping[str, float], known: Sequence[str]) -> None:
    """Raise ValueError where a limit is of a score that there is not."""
    for name in limits:
        if name not in known:
            raise ValueError(f"there is no score {name!r}: expected one of {', '.join(known)}")


def unmet(limits: Mapping[str, float], found: Mapping[str, Difference]) -> list[str]:
    """A sentence for each requirement that is not met; what cannot be judged is none that is."""
    told = []
    for name, limit in limits.items():
        difference = found[name].difference
        if math.isnan(difference):
            told.append(f"{name}: occurs in no frame, so nothing says that it is {limit:+g}")
        elif difference < limit:
            told.append(f"{name}: {difference:+.4f}, at least {limit:+g} wanted")
    return told


def _counts(confusion: np.ndarray) -> np.ndarray:
    """int64 [3, n]: right, true and predicted pixels of each class."""
    inner = confusion[:, :-1]
    return np.stack([inner.diagonal(), confusion.sum(axis=1), inner.sum(axis=0)])


def _scores(counts: np.ndarray) -> np.ndarray:
    """[..., 3, n] -> [..., 2 + n]: mIoU, pixel accuracy, IoU of each class."""
    right, true, predicted = np.moveaxis(counts, -2, 0)
    iou = ratio(right, true + predicted - right)
    known = ~np.isnan(iou)
    mean = ratio(np.nansum(iou, axis=-1), known.sum(axis=-1))
    accuracy = ratio(right.sum(axis=-1), true.sum(axis=-1))
    return np.concatenate([mean[..., None], accuracy[..., None], iou], axis=-1)


def _weights(frames: int, block: int, resamples: int) -> np.ndarray:
    """[resamples, frames]: how often each frame is drawn."""
    rng = np.random.default_rng(0)
    blocks = -(-frames // block)
    begins = rng.integers(frames, size=(resamples, blocks))
    drawn = (begins[..., None] + np.arange(block)) % frames
    drawn = drawn.reshape(resamples, -1)[:, :frames]
    weights = np.zeros((resamples, frames))
    np.add.at(weights, (np.arange(resamples)[:, None], drawn), 1)
    return weights


def _interval(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends over the first axis; NaN where nothing was ever scored."""
    ends = np.full((2, drawn.shape[1]), np.nan)
    there = ~np.isnan(drawn).all(axis=0)
    outside = (100 - _LEVEL) / 2
    ends[:, there] = np.nanpercentile(drawn[:, there], (outside, 100 - outside), axis=0)
    return ends[0], ends[1]
