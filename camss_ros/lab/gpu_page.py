"""The page and the picture of what was measured on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camss_ros.evaluation.report_plots import new_figure
from camss_ros.lab.gpu_parts import Part
from camss_ros.lab.study_output import markdown_table, p50_p95, paragraph, save_figure, write_page

Rows = Mapping[str, Mapping[str, Any]]


def write_gpu_page(
    path: Path,
    rows: Rows,
    missing: Mapping[str, str],
    parts: Mapping[str, Part],
    machine: Mapping[str, Any],
    command: str,
) -> None:
    """Write what there is. Raises OSError.

    Args:
        rows: by key of the part.
        missing: titles of the others, and why.
    """
    described = "; ".join(f"{name} {value}" for name, value in machine.items())
    sections = [paragraph(f"Machine: {described}.")]
    if median_times(rows):
        sections.append("![milliseconds of a frame](gpu.png)")
    for key, row in rows.items():
        warnings = "".join(f"\nWarning: {each}.\n" for each in row.get("warnings", []))
        sections.append(f"## {parts[key].title}\n\n{_show(row)}{warnings}")
    if missing:
        lines = "".join(f"- {title}: {reason}\n" for title, reason in missing.items())
        sections.append(f"## Not measured\n\n{lines}")
    write_page(path, "A GPU", command, *sections)


def _show(row: Mapping[str, Any]) -> str:
    if "agreement" in row:
        return _labels(row)
    if "calls" in row:
        return _calls(row["calls"])
    if "batches" in row:
        return _batches(row["batches"])
    if "sizes" in row:
        return _node(row["sizes"])
    if "missing" in row:
        return f"Not measured: {row['missing']}.\n"
    return _times(row)


def _labels(row: Mapping[str, Any]) -> str:
    how = paragraph(f"""
        Share of the pixels whose label is that of the CPU in float32, on {row["frames"]} frames;
        backend `{row["backend"]}`.""")
    lines = [
        [precision, f"{100 * share['mean']:.3f} %", f"{100 * share['min']:.3f} %"]
        for precision, share in row["agreement"].items()
    ]
    return f"{how}\n\n{markdown_table(['precision', 'mean', 'worst frame'], lines)}"


def _times(row: Mapping[str, Any]) -> str:
    stages, whole = row["stages"], row["whole"]
    height, width = whole["working_size"]
    gflops = whole["matmul_peak_gflops"]
    peak = "unknown" if gflops is None else f"{gflops / 1e3:.1f} TFLOP/s"
    how = paragraph(f"""
        `{whole["model"]}` at {width} x {height}, {whole["sampling"]["steps"]} steps, backend
        `{whole["backend"]}` in {whole["dtype"]}, {whole["frames"]} frames. The stages are those
        of a frame that is launched operation by operation; `one graph` is the same frame as one
        CUDA graph. Share: of the fastest matrix product of this device
        ({peak}).""")
    lines = [
        [stage, p50_p95(times, 2), _share(stages, stage)]
        for stage, times in stages["stages_ms"].items()
        if stage != "total"
    ]
    lines.append(["whole frame", p50_p95(stages["whole_ms"], 2), _share(stages, "total")])
    lines.append(["one graph", p50_p95(whole["whole_ms"], 2), _share(whole, "total")])
    memory = whole["peak_memory"].get("cuda_mb")
    told = "" if memory is None else f"\nGPU memory at the most: {memory:.0f} MB.\n"
    table = markdown_table(["stage", "ms, p50 / p95", "share"], lines)
    longest = _longest(row["longest"])
    return f"{how}\n\n{table}{told}{_official(row.get('official'))}\n{longest}"


def _longest(operations: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        # names of templates have hundreds of characters
        [f"`{each['name'][:80]}`", str(each["calls"]), f"{each['ms']:.2f}"]
        for each in operations
    ]
    return markdown_table(["what takes longest, one by one", "calls", "ms"], lines)


def _official(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return ""
    ratio, theirs = comparison["ratio"], comparison["official"]
    told = paragraph(f"""
        The official procedure ({theirs["steps"]} ancestral steps, float32) takes
        {theirs["stages_ms"]["total"]["p50"]:.0f} ms on the same network and frame, in turns with
        ours: {ratio["median"]:.1f} times as long ({ratio["min"]:.1f} to {ratio["max"]:.1f}).""")
    return f"\n{told}\n"


def _share(row: Mapping[str, Any], stage: str) -> str:
    share = (row["share_of_matmul_peak"] or {}).get(stage)
    return "" if share is None else f"{100 * share:.0f} %"


def _calls(row: Rows) -> str:
    names = list(row)
    kinds = row[names[0]]
    lines = [[kind, *(str(row[name][kind]) for name in names)] for kind in kinds]
    return markdown_table(["a frame of the small model", *names], lines)


def _batches(row: Rows) -> str:
    alone = row["1"]["p50"]
    lines = [
        [count, p50_p95(times, 2), f"{times['p50'] / alone:.2f}", f"{times.get('cuda_mb', 0):.0f}"]
        for count, times in row.items()
    ]
    header = ["frames", "ms, p50 / p95", "times one frame", "GPU memory, MB"]
    return markdown_table(header, lines)


def _node(sizes: Rows) -> str:
    lines = []
    for size, each in sizes.items():
        rate = each["highest_rate"]["hz"]
        for name, latency in each["latency"].items():
            lines.append([
                size, "-" if rate is None else f"{rate:.0f}", name,
                p50_p95(latency["stamp_to_mask_ms"]), p50_p95(latency["segmenter_ms"]),
            ])  # fmt: skip
    header = ["images", "highest rate, Hz", "at", "stamp to mask, ms, p50 / p95", "segmenter"]
    return markdown_table(header, lines)


def median_times(rows: Rows) -> dict[str, float]:
    """Milliseconds of a frame, of every network and way to run it that is there."""
    times: dict[str, float] = {}
    for row in rows.values():
        if "whole" not in row:
            continue
        whole = row["whole"]
        name = f"{whole['model']}, {whole['backend']}"
        times[f"{name}, operation by operation"] = row["stages"]["whole_ms"]["p50"]
        times[f"{name}, one graph"] = whole["whole_ms"]["p50"]
        if "official" in row:
            official = row["official"]["official"]["stages_ms"]["total"]["p50"]
            times[f"{whole['model']}, official procedure"] = official
    return times


def plot_times(times: Mapping[str, float], path: Path) -> None:
    """Bars of `median_times`. Raises OSError."""
    figure = new_figure(9, 1 + 0.4 * len(times))
    axes = figure.subplots()
    drawn = axes.barh(list(times), list(times.values()))
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.15)  # room for the label of the longest
    axes.set_xlabel("ms a frame, median")
    axes.invert_yaxis()
    save_figure(figure, path)
