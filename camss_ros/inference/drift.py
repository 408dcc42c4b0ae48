"""How a frame differs from those that a model was trained on: its image tokens, its unsure pixels.

`drift.safetensors` beside the weights holds the mean and the covariance of the pooled image tokens
of training frames; of the covariance the largest principal components, and one variance for all
that is left (probabilistic PCA: Tipping and Bishop, 1999), so that some hundred frames are enough
and the file has a few kB. A frame is as far away as its Mahalanobis distance says (Lee et al.,
arXiv 1807.03888, of the classes of a classifier).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from camss_ros.atomic_files import replacing
from camss_ros.model.checkpoint import DRIFT_FILE, weights_hash

_log = logging.getLogger(__name__)

UNSURE = 128  # confidence, of 255, below which a pixel is unsure
PERCENTILE = 99.0  # of the training frames, beyond which a frame is unlike them
LEAST_FRAMES = 20
_COMPONENTS = 16
_FOLDS = 5
_BLOCKS = 4  # of neighbouring frames that a fold has of each source


@dataclass(frozen=True)
class Drift:
    """How a frame differs; 1 is the 99th percentile of the training frames.

    Attributes:
        token_distance: of its pooled image tokens from their mean.
        unsure_share: of its pixels, those with a confidence below one half.
    """

    token_distance: float
    unsure_share: float


@dataclass(frozen=True)
class TokenStatistics:
    """Mean and covariance of pooled image tokens.

    Attributes:
        mean: float32 [C].
        components: float32 [K, C], orthonormal.
        variances: float32 [K], along them.
        rest: variance along every direction that is at right angles to all of them.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    rest: float

    @classmethod
    def of(cls, tokens: np.ndarray) -> TokenStatistics:
        """Of float [frames, C]."""
        frames, channels = tokens.shape
        mean = tokens.mean(axis=0)
        count = max(1, min(_COMPONENTS, frames // 4, channels - 1))
        _, spread, components = np.linalg.svd(tokens - mean, full_matrices=False)
        variances = spread**2 / max(1, frames - 1)
        rest = float(variances[count:].sum()) / (channels - count)
        # none is smaller than what is left
        kept = np.maximum(variances[:count], rest)
        floor = 1e-6 * max(float(variances.sum()) / channels, 1e-12)
        return cls(mean, components[:count], np.maximum(kept, floor), max(rest, floor))

    def distance(self, tokens: np.ndarray) -> float:
        """Mahalanobis distance of float [C], divided by the root of C."""
        offset = tokens - self.mean
        along = self.components @ offset
        left = max(0.0, float(offset @ offset - along @ along))
        square = float((along**2 / self.variances).sum()) + left / self.rest
        return float(np.sqrt(square / len(self.mean)))


@dataclass(frozen=True)
class DriftReference:
    """The training frames of a model, as far as drift is concerned.

    Attributes:
        tokens: of their pooled image tokens, at the working size.
        size: (height, width) of that.
        distance_limit, unsure_limit: 99th percentile of the training frames.
    """

    tokens: TokenStatistics
    size: tuple[int, int]
    distance_limit: float
    unsure_limit: float

    def drift(self, tokens: np.ndarray, confidence: np.ndarray) -> Drift:
        """Of a frame: pooled tokens float32 [C] at `size`, confidence uint8 [H, W]."""
        return Drift(
            self.tokens.distance(tokens) / self.distance_limit,
            unsure_share(confidence) / self.unsure_limit,
        )


def unsure_share(confidence: np.ndarray) -> float:
    """Share of the pixels, uint8 [H, W], that are unsure."""
    return np.count_nonzero(confidence < UNSURE) / confidence.size


def learn_reference(
    sources: Iterable[Iterable[np.ndarray]],
    look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    size: tuple[int, int],
) -> DriftReference:
    """Learn what training frames are like.

    A frame that the statistics were made of is nearer to them than another of the same kind: limits
    are of frames, a fifth each time, that the statistics were not made of. Neighbouring frames
    are in one fifth.

    Args:
        sources: frames uint8 [H, W, 3] RGB of each data set, in order.
        look: pooled tokens float32 [C] and confidence uint8 [H, W] of a frame.
        size: working (height, width).

    Raises:
        ValueError: fewer than `LEAST_FRAMES` frames.
    """
    tokens: list[np.ndarray] = []
    unsure: list[float] = []
    folds: list[int] = []
    for source in sources:
        before = len(tokens)
        for image in source:  # whose confidence is large: not kept
            pooled, confidence = look(image)
            tokens.append(pooled)
            unsure.append(unsure_share(confidence))
        seen = len(tokens) - before
        folds += [i * _FOLDS * _BLOCKS // seen % _FOLDS for i in range(seen)]
    if len(tokens) < LEAST_FRAMES:
        raise ValueError(
            f"{len(tokens)} training frames are too few: expected {LEAST_FRAMES} or more"
        )
    all_tokens, fold = np.stack(tokens).astype(np.float64), np.array(folds)
    distances = []
    for index in np.unique(fold):
        others = TokenStatistics.of(all_tokens[fold != index])
        distances += [others.distance(each) for each in all_tokens[fold == index]]
    return DriftReference(
        TokenStatistics.of(all_tokens),
        size,
        max(float(np.percentile(distances, PERCENTILE)), 1e-6),
        max(float(np.percentile(unsure, PERCENTILE)), 1e-3),
    )


def save_reference(reference: DriftReference, model: Path) -> None:
    """Write it into a model directory.

    Raises:
        OSError: it can't be written.
    """
    tokens = reference.tokens
    arrays: dict[str, np.ndarray] = {
        "mean": tokens.mean.astype(np.float32),
        "components": np.ascontiguousarray(tokens.components, np.float16),
        "variances": tokens.variances.astype(np.float32),
    }
    numbers = {
        "weights": weights_hash(model),
        "size": list(reference.size),
        "rest": tokens.rest,
        "distance_limit": reference.distance_limit,
        "unsure_limit": reference.unsure_limit,
    }
    with replacing(model / DRIFT_FILE) as path:
        path.write_bytes(save(arrays, {"drift": json.dumps(numbers)}))


def load_reference(model: Path) -> DriftReference | None:
    """The reference of a model directory; None where there is none, or, with a warning, none that
    can be used."""
    path = model / DRIFT_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            numbers = json.loads(file.metadata()["drift"])
            mean, components, variances = (
                file.get_tensor(name).astype(np.float32)
                for name in ("mean", "components", "variances")
            )
        height, width = map(int, numbers["size"])
        reference = DriftReference(
            TokenStatistics(mean, components, variances, float(numbers["rest"])),
            (height, width),
            float(numbers["distance_limit"]),
            float(numbers["unsure_limit"]),
        )
        if numbers["weights"] == weights_hash(model):
            return reference
        reason = "it is of other weights"
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = f"it cannot be read: {error}"
    _log.warning(
        "drift is not told, %s is of no use: %s; `camss-ros drift learn` makes it anew",
        path, reason,
    )  # fmt: skip
    return None
