"""The plots of a report, as SVG text to be put into a page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"miou": "#1f6f8b", "pixel_accuracy": "#7a9e3f", "confidence": "#c8843c"}
_NAMES = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "confidence": "mean confidence"}
POINTS = 600  # of a curve; more would not be seen
BINS = 40

GROUP_TITLES = {
    "paper": "The paper's corruptions",
    "paper_scaled": "The paper's blurs, scaled with the frame",
    "imagenet_c": "ImageNet-C",
    "weather": "Weather and night",
    "viewpoint": "Camera mounting (synthetic street)",
}


def histogram(seconds: np.ndarray) -> dict[str, list[float]]:
    """`edges_ms` and `counts` of durations; the slowest 0.5 % share the last bin."""
    values = seconds * 1e3
    top = float(np.percentile(values, 99.5))
    low = float(values.min())
    edges = np.linspace(low, max(top, low + 1e-3), BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"edges_ms": edges.tolist(), "counts": counts.tolist()}


def reduce_curve(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most POINTS points of a curve: means over equal numbers of frames, NaN left out."""
    groups = np.array_split(np.arange(len(values)), min(POINTS, max(1, len(values))))
    means = [
        float(np.nanmean(values[g])) if len(g) and not np.isnan(values[g]).all() else np.nan
        for g in groups
    ]
    return np.array([times[g].mean() if len(g) else 0.0 for g in groups]), np.array(means)


def latency_plot(bins: Mapping[str, list[float]], p50: float, p95: float) -> str:
    """SVG of a histogram, as of `histogram`, with the median and the 95th percentile, in ms."""
    figure, axes = _figure()
    edges = np.array(bins["edges_ms"])
    axes.bar(edges[:-1], bins["counts"], np.diff(edges), align="edge", color="#1f6f8b")
    for value, name in ((p50, "p50"), (p95, "p95")):
        axes.axvline(value, color="#c0392b", linewidth=1, linestyle="--")
        axes.annotate(
            f"{name} {value:.0f} ms", (value, 1), xycoords=("data", "axes fraction"),
            xytext=(-3 if name == "p50" else 3, 3), textcoords="offset points", fontsize=8,
            color="#c0392b", ha="right" if name == "p50" else "left", annotation_clip=False,
        )  # fmt: skip
    axes.set_xlabel("milliseconds a frame")
    axes.set_ylabel("frames")
    return svg(figure)


def temporal_plot(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], of_time: bool) -> str:
    """Scores along the frames, from 0 to 1, over seconds or over the number of the frame."""
    figure, axes = _figure()
    for name, (times, values) in curves.items():
        mark = "." if len(values) < 40 else ""
        axes.plot(
            times, values, color=_COLORS[name], linewidth=1.2, marker=mark, label=_NAMES[name]
        )
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("seconds" if of_time else "frame")
    # `ncols` is not known before matplotlib 3.6; Ubuntu 22.04, and so Humble, has 3.5
    axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.8, ncol=len(curves))
    axes.grid(color="#dddddd", linewidth=0.6)
    return svg(figure)


def retention_figure(corruptions: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Retention over the knob, a small plot for each corruption.

    `corruptions`: by model, of one group of `robustness.summarize`.
    """
    names = list(next(iter(corruptions.values())))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(3.2 * columns, 2.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axis, name in zip(axes, names, strict=False):
        for model, of in corruptions.items():
            levels = of[name]["levels"]
            axis.plot(
                [level["value"] for level in levels],
                [100 * level["retention"] for level in levels],
                marker=".", label=model,
            )  # fmt: skip
        axis.set_title(name, fontsize=9)
        # the outermost say the unit; of ImageNet-C the values only number the levels
        ticks = sorted((level["value"], level["setting"]) for level in levels)
        texts = [re.sub(r", | (?=\()", "\n", setting) for _, setting in ticks]
        texts[1:-1] = [""] * len(texts[1:-1])
        axis.set_xticks([value for value, _ in ticks], texts, fontsize=7)
        axis.get_xticklabels()[0].set_horizontalalignment("left")
        axis.get_xticklabels()[-1].set_horizontalalignment("right")
        axis.grid(alpha=0.3)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    axes[0].set_ylim(bottom=0)  # of all, which share it; before they are drawn it would cut them
    axes[0].legend(fontsize=7)
    figure.supylabel("share of the clean mIoU kept, %", fontsize=9)
    return figure


def svg(figure: Figure) -> str:
    """A figure as SVG text that points nowhere outside of itself."""
    import matplotlib

    output = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    text = output.getvalue()
    text = text[text.index("<svg") :]
    # The metadata names vocabularies by address.
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, drawn without a display."""
    # Not pyplot: that would choose a backend for the whole process.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _figure() -> tuple[Figure, Axes]:
    figure = new_figure(8, 2.6)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
