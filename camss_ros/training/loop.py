"""The training loop both trainings share: AdamW, EMA, atomic checkpoints, resume, progress bar."""

import copy
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn


class TrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is intact."""


@dataclass(frozen=True)
class LoopOptions:
    """How long and how fast to train.

    Attributes:
        steps: optimizer steps.
        learning_rate: peak of the warm-up and cosine schedule (ends at 2 % of it).
        warmup: steps of linear warm-up.
        weight_decay: of matrices and convolutions; norms, biases and tokens have none.
        clip: largest norm of the gradient.
        ema_decay: of the averaged weights, approached as (1 + n) / (10 + n).
        bf16: forward passes in bfloat16 autocast.
        save_every, evaluate_every: steps between checkpoints and between evaluations.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float = 0.02
    clip: float = 3.0
    ema_decay: float = 0.998
    bf16: bool = True
    save_every: int = 100
    evaluate_every: int = 250


class ExponentialMovingAverage:
    """Average of a module's parameters; its buffers are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Move towards the parameters of `source`."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages = [p.detach() for p in self.module.parameters()]
        torch._foreach_lerp_(averages, [p.detach() for p in source.parameters()], 1 - decay)
        for average, current in zip(self.module.buffers(), source.buffers(), strict=True):
            average.copy_(current)


def parameter_groups(
    module: nn.Module, weight_decay: float, rate_of: Callable[[str], float] = lambda name: 1.0
) -> list[dict[str, object]]:
    """AdamW groups: no decay on vectors and tokens, and a factor on the learning rate by name."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and not name.endswith("mask_token")
            groups.setdefault((decayed, rate_of(name)), []).append(parameter)
    return [
        {"params": params, "weight_decay": weight_decay if decayed else 0.0, "rate": rate}
        for (decayed, rate), params in groups.items()
    ]


def learning_rate_factor(step: int, options: LoopOptions) -> float:
    """Linear warm-up, then a cosine down to 2 %."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    done = (step - options.warmup) / max(1, options.steps - options.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def save_atomically(state: object, path: Path) -> None:
    """`torch.save` that leaves either the old file or the whole new one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def train(
    module: nn.Module,
    loss_of_step: Callable[[int], dict[str, Tensor]],
    evaluate: Callable[[nn.Module], dict[str, float]],
    output: Path,
    options: LoopOptions,
    rate_of: Callable[[str], float] = lambda name: 1.0,
) -> nn.Module:
    """Train `module` in place, resuming from `output/checkpoint.pt` when it is there.

    Args:
        module: what is trained, on its device.
        loss_of_step: step -> named losses, of which `loss` is minimised. Everything random in it
            follows from the step, so that a resumed run goes on as an uninterrupted one.
        evaluate: averaged module -> scores, written to `output/metrics.jsonl`.
        output: folder of the checkpoint and the metrics.
        options: see `LoopOptions`.
        rate_of: factor on the learning rate by parameter name.

    Returns:
        The averaged module.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / "checkpoint.pt"
    average = ExponentialMovingAverage(module, options.ema_decay)
    groups = parameter_groups(module, options.weight_decay, rate_of)
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.95))
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(state["module"])
        average.module.load_state_dict(state["average"])
        average.updates = state["updates"]
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]

    def save(step: int) -> None:
        state = {
            "module": module.state_dict(),
            "average": average.module.state_dict(),
            "updates": average.updates,
            "optimizer": optimizer.state_dict(),
            "step": step,
        }
        save_atomically(state, checkpoint)

    def report(step: int, values: dict[str, float]) -> None:
        with (output / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    device_type = next(module.parameters()).device.type
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(TextColumn(output.name), *columns) as progress:
        task = progress.add_task("train", total=options.steps, completed=first, text="")
        for step in range(first, options.steps):
            for group in optimizer.param_groups:
                factor = learning_rate_factor(step, options) * group["rate"]
                group["lr"] = options.learning_rate * factor
            with torch.autocast(device_type, torch.bfloat16, enabled=options.bf16):
                losses = loss_of_step(step)
            values = {name: float(value.detach()) for name, value in losses.items()}
            if not math.isfinite(values["loss"]):
                raise TrainingError(
                    f"the loss is {values['loss']} at step {step}; the checkpoint {checkpoint} "
                    "is of an earlier step: lower the learning rate and start again from it"
                )
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            nn.utils.clip_grad_norm_(module.parameters(), options.clip)
            optimizer.step()
            average.update(module)
            progress.update(task, advance=1, text=f"loss {values['loss']:.4f}")
            done = step + 1
            if done % 20 == 0:
                report(done, values)
            if done % options.evaluate_every == 0 or done == options.steps:
                report(done, evaluate(average.module))
            if done % options.save_every == 0 or done == options.steps:
                save(done)
    return average.module
