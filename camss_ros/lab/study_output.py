"""What a study leaves: its rows, stored as they come, a Markdown page and plots."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camss_ros.evaluation.report_plots import new_figure
from camss_ros.evaluation.result_folder import (
    begin_results,
    write_atomically,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class ResultRows:
    """The finished rows of one study, by key, in `path`.

    Args:
        path: JSON file, made with its folder if missing.
        settings: what the rows depend on, JSON-able.
        parts: folder beside it of what the rows are made of, which may not be there yet.

    Raises:
        OutputMismatchError: `path` holds the rows of other settings, or there are parts without it,
            of settings that nobody knows.
        OSError: it can't be written.
    """

    def __init__(self, path: Path, settings: dict[str, Any], parts: Path | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        begin_results(path, settings, (), () if parts is None else (parts.name,))
        self._path = path
        self._settings = settings
        self._rows: dict[str, dict[str, Any]] = json.loads(path.read_text()).get("rows", {})

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def __iter__(self) -> Iterator[str]:
        """The keys of the finished rows, in the order in which they came."""
        return iter(self._rows)

    def add(self, key: str, row: dict[str, Any], instead_of: Iterable[str] = ()) -> None:
        """Store a finished row, JSON-able, and drop those that it takes the place of."""
        self._rows[key] = row
        for part in instead_of:
            del self._rows[part]
        self._write(complete=False)

    def finish(self) -> None:
        """Note that all rows are there."""
        self._write(complete=True)

    def _write(self, complete: bool) -> None:
        content = {"complete": complete, "settings": self._settings, "rows": self._rows}
        write_json(self._path, content)


def write_page(path: Path, title: str, command: str, *parts: str) -> None:
    """Write a page: its title, the command that made it, and its parts. Raises OSError."""
    # a comment for the test of the pages, which runs their commands
    block = f"<!-- not run: it has written this page, which takes long -->\n```sh\n{command}\n```"
    text = "\n\n".join(part.strip("\n") for part in (f"# {title}", block, *parts))
    write_text(path, f"{text}\n")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its first column aligned to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def paragraph(text: str) -> str:
    """The text in lines of up to 100 characters, however it was broken."""
    return textwrap.fill(" ".join(text.split()), 100, break_on_hyphens=False)


def p50_p95(times: Mapping[str, float] | None, decimals: int = 1) -> str:
    """Median and 95th percentile, in ms, of `milliseconds`; a dash where there is none."""
    if times is None:
        return "-"
    return f"{times['p50']:.{decimals}f} / {times['p95']:.{decimals}f}"


def verdict(holds: bool) -> str:
    """What the page says of a promise."""
    return "**holds**" if holds else "**does not hold**"


@contextmanager
def score_panels(
    path: Path, scores: Sequence[str], x_label: str, columns: int, legend_title: str | None = None
) -> Iterator[list[tuple[str, Axes]]]:
    """A plot with a panel for each score, and a legend of so many columns that they share.

    Written at the end of the block. Raises OSError.
    """
    figure = new_figure(10, 4.2)
    panels = list(zip(scores, figure.subplots(1, len(scores)), strict=True))
    yield panels
    for score, axes in panels:
        axes.set_xlabel(x_label)
        axes.set_ylabel(score)
        axes.grid(alpha=0.3)
    handles = panels[0][1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns, title=legend_title)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a whole or not at all. Raises OSError."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())
