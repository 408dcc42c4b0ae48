"""Section of the page about speed: what smaller images in the network gain and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camss_ros.evaluation.formats import number
from camss_ros.inference.network_size import can_resize, nearest_size
from camss_ros.lab.node_section import measure_node
from camss_ros.lab.node_speed import SIZES
from camss_ros.lab.page import markdown_table, p50_p95, paragraph
from camss_ros.lab.score_section import score
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.model.checkpoint import find_config

AIM_HZ = 60.0
# Of the sides of the model's own size. The least are as in the latency budget's reduced settings.
SHARES = (0.85, 0.75, 0.67, 0.6)


def show_sizes(row: Mapping[str, Any]) -> str:
    """Markdown of what was measured."""
    if not row["rows"]:
        return "The model works at its own size only.\n"
    fast = [each for each in row["rows"] if each["hz"] is not None and each["hz"] >= AIM_HZ]
    best = max(fast, key=lambda each: each["miou"] or 0.0, default=None)
    reached = "**not reached**"
    if best is not None:
        reached = (
            f"**reached** with {best['size'][1]} x {best['size'][0]} in {best['dtype']}, at a mIoU "
            f"of {number(best['miou'], 4)}"
        )
    how = paragraph(f"""
        As above, images of {row["image_size"]}, but with `network_size` smaller than the model's
        own {row["own"][1]} x {row["own"][0]}; nothing was trained for these sizes. Times at
        {row["latency_at"]}, p50 / p95 in ms; mIoU on {row["data"]}. The aim
        is {reached}.""")
    header = ["in the network", "highest rate, Hz", "stamp to mask", "segmenter", "mIoU"]
    lines = [
        [
            f"{each['size'][1]} x {each['size'][0]}, {each['dtype']}", number(each["hz"], 1),
            p50_p95(each["stamp_to_mask_ms"]), p50_p95(each["segmenter_ms"]),
            number(each["miou"], 4),
        ]
        for each in row["rows"]
    ]  # fmt: skip
    return f"{how}\n\n{markdown_table(header, lines)}"


def _measure(run: SpeedRun) -> dict[str, Any]:
    """Rate, latency and mIoU at each size and precision."""
    settings = run.settings
    config = find_config(settings.spec.model)
    precisions = [settings.spec.precision, *(["int8"] if settings.has_int8() else [])]
    images = SIZES[:1]
    rows = []
    for height, width in dict.fromkeys(nearest_size(config.input_size, x) for x in SHARES):
        for precision in precisions if can_resize(config) else ():
            name = f"{width} x {height}"
            (node,) = measure_node(
                run, f"node, {name} in the network, {precision},", images,
                network_size=(width, height), precision=precision,
            )["sizes"].values()  # fmt: skip
            latency = next(iter(node["latency"].values()))
            rows.append({
                "size": [height, width],
                "hz": node["highest_rate"]["hz"],
                "stamp_to_mask_ms": latency["stamp_to_mask_ms"],
                "segmenter_ms": latency["segmenter_ms"],
                **score(run, f"{name}, {precision}", precision=precision,
                        network_size=(height, width)),
            })  # fmt: skip
    return {
        "data": run.labelled.name,
        "image_size": f"{images[0][1]} x {images[0][0]}",
        "latency_at": f"{settings.node.latency_rates[0]:g} Hz",
        "own": list(config.input_size),
        "rows": rows,
    }


SECTION = Section(
    "sizes",
    "Smaller images in the network",
    f"as an aim, {AIM_HZ:g} Hz at 480 x 360",
    _measure,
    show_sizes,
    needs="data",
)
