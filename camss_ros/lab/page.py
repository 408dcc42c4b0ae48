"""Parts of the Markdown page that a study writes, and its plots."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from camss_ros.evaluation.result_folder import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its first column aligned to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def paragraph(text: str) -> str:
    """The text in lines of up to 100 characters, however it was broken."""
    return textwrap.fill(" ".join(text.split()), 100, break_on_hyphens=False)


def p50_p95(times: Mapping[str, float] | None) -> str:
    """Median and 95th percentile, in ms, of `milliseconds`; a dash where there is none."""
    return "-" if times is None else f"{times['p50']:.1f} / {times['p95']:.1f}"


def verdict(holds: bool) -> str:
    """What the page says of a promise."""
    return "**holds**" if holds else "**does not hold**"


def command_block(command: str) -> str:
    """The command that a page was written by, and for the test of the pages why it is not run."""
    return f"<!-- not run: it has written this page, which takes long -->\n```sh\n{command}\n```"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, drawn without a display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a whole or not at all. Raises OSError."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())
