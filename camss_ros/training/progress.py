"""The progress of a training, on stderr: of its steps, and of what it reads before."""

from collections.abc import Iterable
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """As rich's, which writes to stdout."""
    console = Console(stderr=True)
    return rich.progress.track(items, description, total=total, console=console)


def step_progress(name: str, shown: bool) -> Progress:
    """A bar with rate and latest loss, whose tasks have a field `text`.

    Args:
        name: of the run.
        shown: False in all processes but the main one.
    """
    return Progress(
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
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
