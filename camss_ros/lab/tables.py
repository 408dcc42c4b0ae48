"""Measurements for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from camss_ros.evaluation.formats import result_table

_NODE_PARTS = {
    "stamp to mask": "stamp_to_mask_ms",
    "segmenter": "segmenter_ms",
    "convert and publish": "convert_and_publish_ms",
    "all outside the segmenter": "outside_segmenter_ms",
}


def speed_table(speed: Mapping[str, Any]) -> Table:
    """Of `measure_segmenter`."""
    height, width = speed["frame_size"]
    title = f"{speed['model']}, {speed['backend']} {speed['dtype']}, {width} x {height} frames"
    table = result_table("stage", "p50, ms", "p95, ms", "share of the matmul peak", title=title)
    shares = speed["share_of_matmul_peak"] or {}
    for stage, times in speed["stages_ms"].items():
        share = f"{100 * shares[stage]:.1f} %" if stage in shares else ""
        _add_times(table, stage, times, share, decimals=2)
    table.add_section()
    _add_times(table, "whole", speed["whole_ms"], decimals=2)
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
    title = f"against the official procedure, {width} x {height}"
    table = result_table("", "p50, ms", "p95, ms", title=title)
    for stage, times in official["stages_ms"].items():
        _add_times(table, f"official {stage}", times)
    table.add_section()
    name = f"ours, {ours['backend']} {ours['dtype']}, steps: {ours['sampling']['steps']}"
    _add_times(table, name, ours["whole_ms"])
    table.add_section()
    ratio = comparison["ratio"]
    span = f"{ratio['min']:.1f} to {ratio['max']:.1f}"
    table.add_row(f"times as fast, {comparison['turns']} turns", f"{ratio['median']:.1f}", span)
    return table


def _add_times(
    table: Table, name: str, times: Mapping[str, float], *more: str, decimals: int = 1
) -> None:
    table.add_row(name, f"{times['p50']:.{decimals}f}", f"{times['p95']:.{decimals}f}", *more)


def node_table(sizes: Mapping[str, Any]) -> Table:
    """Of `measure_node`, by size."""
    table = result_table("", "p50, ms", "p95, ms", title="through DDS, from the image's stamp")
    for size, node in sizes.items():
        table.add_section()
        found = node["highest_rate"]
        rate = "none" if found["hz"] is None else f"{found['hz']:.1f} Hz"
        table.add_row(f"{size}: highest rate, limited by {found['limited_by']}", rate)
        for name, latency in node["latency"].items():
            for part, key in _NODE_PARTS.items():
                if latency[key] is not None:
                    _add_times(table, f"{size}: {part}, {name}", latency[key])
            if latency["drops"]:
                table.add_row(f"{size}: drops, {name}", f"{100 * latency['drops']:.1f} %")
    return table
