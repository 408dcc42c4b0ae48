"""The progress bar of a training: steps, their rate and the latest loss."""

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


def step_progress(name: str, shown: bool) -> Progress:
    """A bar on stderr, whose tasks have a field `text`.

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
