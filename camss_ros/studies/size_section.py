"""Section of the page about speed: what smaller images in the network gain and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from camss_ros.inference.network_size import nearest_size
from camss_ros.studies.page import markdown_table, number, p50_p95, paragraph, verdict

AIM_HZ = 60.0
# Of the sides of the model's own size. The least are as in the latency budget's ladder.
SHARES = (0.85, 0.75, 0.67, 0.6)

Size = tuple[int, int]  # (height, width)


def measure_sizes(
    own: Size,
    precisions: Sequence[str],
    measure_node: Callable[[Size, str], Mapping[str, Any]],
    score: Callable[[Size, str], Mapping[str, Any]],
) -> dict[str, Any]:
    """Rate, latency and mIoU at each size and precision, as JSON values.

    Args:
        own: the model's size.
        precisions: of the network, such as "auto".
        measure_node: as `benchmark.node_speed.measure_node`.
        score: `miou`, `backend` and `dtype`.
    """
    rows = []
    for size in dict.fromkeys(nearest_size(own, share) for share in SHARES):
        for precision in precisions:
            node = measure_node(size, precision)
            latency = next(iter(node["latency"].values()))
            rows.append({
                "size": list(size),
                "hz": node["highest_rate"]["hz"],
                "stamp_to_mask_ms": latency["stamp_to_mask_ms"],
                "segmenter_ms": latency["segmenter_ms"],
                **score(size, precision),
            })  # fmt: skip
    return {"own": list(own), "rows": rows}


def show_sizes(row: Mapping[str, Any]) -> str:
    """Markdown of what `measure_sizes` returned, with `data`, `image_size` and `latency_at`."""
    if not row["rows"]:
        return "The model works at its own size only.\n"
    fast = [each for each in row["rows"] if each["hz"] is not None and each["hz"] >= AIM_HZ]
    best = max(fast, key=lambda each: each["miou"] or 0.0, default=None)
    at = ""
    if best is not None:
        at = (
            f": {best['size'][1]} x {best['size'][0]} in {best['dtype']}, with a mIoU of "
            f"{number(best['miou'], 4)}"
        )
    how = paragraph(f"""
        As above, images of {row["image_size"]}, but with `network_size` smaller than the model's
        own {row["own"][1]} x {row["own"][0]}; nothing was trained for these sizes. Times at
        {row["latency_at"]}, p50 / p95 in ms; mIoU on {row["data"]}. The aim
        {verdict(best is not None)}{at}.""")
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
