"""Measurements for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def speed_table(speed: Mapping[str, Any]) -> Table:
    """Of `measure_segmenter`."""
    height, width = speed["frame_size"]
    title = f"{speed['model']}, {speed['backend']} {speed['dtype']}, {width} x {height} frames"
    table = _table("stage", "p50, ms", "p95, ms", "share of the matmul peak", title=title)
    shares = speed["share_of_matmul_peak"] or {}
    for stage, times in {**speed["stages_ms"], "whole": speed["whole_ms"]}.items():
        share = f"{100 * shares[stage]:.1f} %" if stage in shares else ""
        if stage == "whole":
            table.add_section()
        table.add_row(stage, f"{times['p50']:.2f}", f"{times['p95']:.2f}", share)
    table.add_section()
    if speed["gmac"]:
        table.add_row("GMAC", f"{speed['gmac']['total']:.2f}")
    if speed["matmul_peak_gflops"]:
        table.add_row("matmul peak, GFLOP/s", f"{speed['matmul_peak_gflops']:.0f}")
    for name, value in speed["peak_memory"].items():
        table.add_row(f"peak {name.replace('_mb', ', MB')}", f"{value:.0f}")
    return table


def versus_table(comparison: Mapping[str, Any]) -> Table:
    """Of `compare_with_official`."""
    official, ours = comparison["official"], comparison["ours"]
    height, width = comparison["size"]
    turns = comparison["turns"]
    table = _table(
        "", "p50, ms", "p95, ms", title=f"against the official procedure, {width} x {height}"
    )
    for stage, times in official["stages_ms"].items():
        if stage != "total":
            table.add_row(f"official {stage}", f"{times['p50']:.1f}", f"{times['p95']:.1f}")
    table.add_section()
    total, whole = official["stages_ms"]["total"], ours["whole_ms"]
    table.add_row("official", f"{total['p50']:.1f}", f"{total['p95']:.1f}")
    name = f"ours, {ours['backend']} {ours['dtype']}, steps: {ours['sampling']['steps']}"
    table.add_row(name, f"{whole['p50']:.1f}", f"{whole['p95']:.1f}")
    ratio = comparison["ratio"]
    table.add_section()
    table.add_row(
        f"times as fast, {turns} turns",
        f"{ratio['median']:.1f}",
        f"{ratio['min']:.1f} to {ratio['max']:.1f}",
    )
    return table


def calls_table(calls: Mapping[str, Mapping[str, int]]) -> Table:
    """Of `measure_calls`."""
    table = _table("of a frame", *calls, title="what a frame makes the processor do")
    for kind in next(iter(calls.values())):
        row = [counts[kind] for counts in calls.values()]
        if any(row):  # on a CPU there are operators only
            table.add_row(kind, *map(str, row))
    return table


def _table(first: str, *columns: str, title: str) -> Table:
    table = Table(first, title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def node_table(sizes: Mapping[str, Any]) -> Table:
    """Of `measure_node`, by size."""
    table = _table("", "p50, ms", "p95, ms", title="through DDS, from the image's stamp")
    for size, node in sizes.items():
        table.add_section()
        found = node["highest_rate"]
        rate = "none" if found["hz"] is None else f"{found['hz']:.1f} Hz"
        table.add_row(f"{size}: highest rate, limited by {found['limited_by']}", rate)
        for name, latency in node["latency"].items():
            for part, key in _NODE_PARTS.items():
                times = latency[key]
                if times is not None:
                    p50, p95 = f"{times['p50']:.1f}", f"{times['p95']:.1f}"
                    table.add_row(f"{size}: {part}, {name}", p50, p95)
            if latency["drops"]:
                table.add_row(f"{size}: drops, {name}", f"{100 * latency['drops']:.1f} %")
    return table


_NODE_PARTS = {
    "stamp to mask": "stamp_to_mask_ms",
    "segmenter": "segmenter_ms",
    "convert and publish": "convert_and_publish_ms",
    "all outside the segmenter": "outside_segmenter_ms",
}
