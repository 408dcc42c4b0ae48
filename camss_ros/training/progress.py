"""The progress of a training, on stderr: of its steps, and of what it reads before."""

from collections.abc import Iterable
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
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """As rich's, which writes to stdout."""
    console = Console(stderr=True)
    return rich.progress.track(items, escape(description), total=total, console=console)


def step_progress(shown: bool) -> Progress:
    """A bar with rate and latest loss, whose tasks have a field `text`.

    Args:
        shown: False in all processes but the main one.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
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
