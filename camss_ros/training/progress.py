"""The progress of a training, on stderr: of its steps, and of what it reads before."""

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """As rich's, which writes to stdout."""
    console = Console(stderr=True)
    return rich.progress.track(items, escape(description), total=total, console=console)


def step_progress(shown: bool) -> Progress:
    """A bar with rate, time left and latest loss.

    Its tasks have the fields `text` and `seconds`: what is left of the run's time, inf
    without a limit.

    Args:
        shown: False in all processes but the main one.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        _RemainingColumn(),
        TextColumn("{task.fields[text]}"),
        # steps may take seconds
        speed_estimate_period=300,
        disable=not shown,
        console=Console(stderr=True),
    )


class _RateColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.2f} steps/s")


class _RemainingColumn(ProgressColumn):
    """Until the last step, or the end of the time where that comes first."""

    def render(self, task: Task) -> Text:
        steps = task.time_remaining
        seconds = min(task.fields["seconds"], math.inf if steps is None else steps)
        return Text("-:--:--" if math.isinf(seconds) else str(timedelta(seconds=round(seconds))))
