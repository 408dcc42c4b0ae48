"""Parameter groups, learning rate and averaged weights."""

import copy
import math
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from camss_ros.training.config import LoopOptions

Model = TypeVar("Model", bound=nn.Module)

_NO_DECAY = ("mask_token", "pos_embed_learned")


class ExponentialMovingAverage(Generic[Model]):
    """Average of a module's trained parameters; frozen ones and buffers are copied.

    `torch.optim.swa_utils.AveragedModel` averages frozen parameters too, has no warm-up of its own,
    and would name the state of older checkpoints otherwise.
    """

    def __init__(self, module: Model, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Move towards the parameters of `source`."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        pairs = [
            (average, current)
            for average, current in zip(self.module.parameters(), source.parameters(), strict=True)
            if current.requires_grad
        ]
        averages, currents = (list(side) for side in zip(*pairs, strict=True))
        torch._foreach_lerp_(averages, currents, 1 - decay)
        for average, current in zip(self.module.buffers(), source.buffers(), strict=True):
            average.copy_(current)


def parameter_groups(
    module: nn.Module, weight_decay: float, rate_of: Callable[[str], float]
) -> list[dict[str, object]]:
    """AdamW groups of the parameters that are trained, with a factor on the learning rate (`rate`).

    Args:
        module: with the parameters.
        weight_decay: of all but vectors (norms and biases), position tables and tokens.
        rate_of: the factor, by the name of the parameter.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and not name.endswith(_NO_DECAY)
            groups.setdefault((decayed, rate_of(name)), []).append(parameter)
    return [
        {"params": params, "weight_decay": weight_decay if decayed else 0.0, "rate": rate}
        for (decayed, rate), params in groups.items()
    ]


def learning_rate(step: int, elapsed: float, options: LoopOptions) -> float:
    """Linear warm-up, then the peak or a cosine down to 2 % of it.

    Args:
        step: number of steps done.
        elapsed: minutes that they took.
        options: of the run.
    """
    if step < options.warmup:
        return options.learning_rate * (step + 1) / options.warmup
    if options.schedule == "constant":
        return options.learning_rate
    done = (step - options.warmup) / max(1, options.steps - options.warmup)
    if options.minutes is not None:
        done = max(done, elapsed / options.minutes)
    return options.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def saved_state(module: nn.Module, saved: set[str]) -> dict[str, Tensor]:
    """The buffers of a module and the named ones of its parameters."""
    others = {name for name, _ in module.named_parameters()} - saved
    return {name: value for name, value in module.state_dict().items() if name not in others}
