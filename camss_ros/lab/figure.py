"""Plots as PNG files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from camss_ros.evaluation.result_folder import write_atomically


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, drawn without a display."""
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a whole or not at all. Raises OSError."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())
