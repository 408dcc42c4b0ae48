"""Which mask tokens a training sample shows as known (paper section 3.2)."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class RandomlyKnown:
    """None known, as in one-pass decoding, or in a share of the samples some.

    Attributes:
        known_share: share of the samples with some of their tokens known.
        most_known: largest share of tokens known in such a sample.
    """

    known_share: float = 0.4
    most_known: float = 0.7

    def known(
        self, tokens: int, step: np.random.Generator, sample: np.random.Generator
    ) -> np.ndarray:
        """bool [tokens]; `step` and `sample` are seeded by the step and by the sample."""
        share = sample.uniform(0.0, self.most_known) * (sample.random() < self.known_share)
        return sample.random(tokens) < share


@dataclass(frozen=True)
class TruncatedNormalRatio:
    """The official mask ratio: one for all samples of a step, normal but within [minimum, 1].

    Attributes:
        center, std: of the normal distribution.
        minimum: smallest share of masked tokens.
    """

    center: float = 1.0
    std: float = 0.25
    minimum: float = 0.7

    def known(
        self, tokens: int, step: np.random.Generator, sample: np.random.Generator
    ) -> np.ndarray:
        """As `RandomlyKnown.known`, with equally many known tokens in all samples of a step."""
        normal = NormalDist(self.center, self.std)
        low, high = normal.cdf(self.minimum), normal.cdf(1.0)
        ratio = normal.inv_cdf(low + (high - low) * step.random())
        masked = min(tokens, int(np.ceil(tokens * ratio)))
        return sample.permutation(tokens) >= masked
