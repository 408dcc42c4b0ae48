"""Section of the page about speed: the node, through DDS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from camss_ros.lab.node_speed import SIZES
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.study_output import markdown_table, p50_p95, paragraph, verdict
from camss_ros.model.checkpoint import find_model

WANTED_HZ, WANTED_P95_MS, WANTED_SHARE_MS = 25.0, 70.0, 5.0


def _measure(run: SpeedRun) -> dict[str, Any]:
    row = measure_node(run, "node", SIZES)
    if run.settings.has_int8():
        int8 = measure_node(run, "node in int8", SIZES[:1], precision="int8")
        row["int8"] = int8["sizes"]
    return row


def measure_node(
    run: SpeedRun, name: str, sizes: Sequence[tuple[int, int]], **changed: str | tuple[int, int]
) -> dict[str, Any]:
    """As `measure_node_sizes`, with some parameters changed."""
    from camss_ros.lab.node_benchmark import measure_node_sizes  # needs rclpy

    return measure_node_sizes(
        find_model(run.settings.spec.model), {**run.settings.node_parameters(), **changed}, sizes,
        run.settings.node,
        lambda size, trials: run.progress(f"{name} at {size}, trial {trials + 1}"),
    )  # fmt: skip


def _show(row: dict[str, Any]) -> str:
    runs = [(size, "", node) for size, node in row["sizes"].items()]
    runs += [(size, ", int8", node) for size, node in row.get("int8", {}).items()]
    lines = []
    for size, precision, node in runs:
        found = node["highest_rate"]
        hz = "none" if found["hz"] is None else f"{found['hz']:.1f} ({found['limited_by']})"
        for rate, latency in node["latency"].items():
            lines.append([
                f"{size}{precision}", hz, rate, f"{100 * latency['drops']:.1f} %",
                *(p50_p95(latency[key]) for key in (
                    "stamp_to_mask_ms", "segmenter_ms", "convert_and_publish_ms",
                    "outside_segmenter_ms",
                )),
            ])  # fmt: skip
    (small, large) = (row["sizes"][f"{width}x{height}"] for height, width in SIZES)
    node_share = next(iter(large["latency"].values()))["convert_and_publish_ms"]
    name = f"{SIZES[0][1]}x{SIZES[0][0]}"
    int8 = row.get("int8", {}).get(name)
    in_int8 = f", in int8 it {verdict(_is_fast(int8))}" if int8 else ""
    used = row["node"]
    how = paragraph(f"""
        Model {used["model"]} on {used["device"]} by {used["backend"]}, steps: {used["steps"]}
        ({used["sampler"]}); raw {small["encoding"]} images from another process, masks to a third,
        all on this machine. Highest rate with under 5 % of the images lost, after ros2_benchmark,
        and what limits it; latency from the image's stamp to the mask at a subscriber; times are
        p50 / p95 in ms. The last column has also what happens outside the node's own code: sending,
        the copies into and out of DDS, waiting for a turn. At {SIZES[0][1]} x {SIZES[0][0]} the
        promise {verdict(_is_fast(small))}{in_int8}; the promise about the node's own share
        {verdict(node_share is not None and node_share["p50"] < WANTED_SHARE_MS)}.""")
    header = [
        "images", "highest rate, Hz", "latency at", "lost", "stamp to mask", "segmenter",
        "convert and publish", "all outside the segmenter",
    ]  # fmt: skip
    return f"{how}\n\n{markdown_table(header, lines)}"


def _is_fast(node: Mapping[str, Any]) -> bool:
    """Whether one size keeps the promise: the rate, and the latency at the lowest rate."""
    rate = node["highest_rate"]["hz"]
    time = next(iter(node["latency"].values()))["stamp_to_mask_ms"]
    return (
        rate is not None and rate >= WANTED_HZ and time is not None and time["p95"] < WANTED_P95_MS
    )


SECTION = Section(
    "node",
    "The node, through DDS",
    f"at 480 x 360 at least {WANTED_HZ:g} Hz, and stamp to mask under {WANTED_P95_MS:g} ms "
    f"(p95, at 10 Hz); at 1920 x 1080 under {WANTED_SHARE_MS:g} ms (p50) for the node's own "
    "share, to convert and publish",
    _measure,
    _show,
)
