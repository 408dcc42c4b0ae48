"""Which mask tokens a training sample shows as known (paper section 3.2)."""

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from camss_ros.training.limits import above_zero, between


@dataclass(frozen=True)
class RandomlyKnown:
    """None known, as in one-pass decoding, or in a share of the samples some.

    Attributes:
        known_share: share of the samples with some of their tokens known.
        most_known: largest share of tokens known in such a sample.
    """

    known_share: float = 0.4
    most_known: float = 0.7

    def __post_init__(self) -> None:
        for name in ("known_share", "most_known"):
            between(name, getattr(self, name), 0, 1)

    def known(self, samples: int, tokens: int, generator: torch.Generator) -> Tensor:
        """Which mask tokens are known.

        Args:
            samples: of a step.
            tokens: of a sample.
            generator: of what is random, on the device of the result.

        Returns:
            bool [samples, tokens].
        """
        some = _uniform(generator, samples, 1) < self.known_share
        share = self.most_known * _uniform(generator, samples, 1) * some
        return _uniform(generator, samples, tokens) < share


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

    def __post_init__(self) -> None:
        above_zero("std", self.std)
        for name in ("center", "minimum"):
            between(name, getattr(self, name), 0, 1)

    def known(self, samples: int, tokens: int, generator: torch.Generator) -> Tensor:
        """As `RandomlyKnown.known`, with equally many known tokens in all samples."""
        normal = NormalDist(self.center, self.std)
        low, high = normal.cdf(self.minimum), normal.cdf(1.0)
        probability = low + (high - low) * _uniform(generator, 1).double()
        ratio = self.center + self.std * torch.special.ndtri(probability)
        masked = (tokens * ratio).ceil().clamp(max=tokens)
        return _uniform(generator, samples, tokens).argsort(dim=1).argsort(dim=1) >= masked


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
