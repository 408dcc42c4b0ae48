"""Section of the page about speed: what smaller images in the network gain and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from camss_ros.evaluation.formats import number
from camss_ros.inference.network_size import can_resize, nearest_size
from camss_ros.lab.node_section import measure_node
from camss_ros.lab.node_speed import SIZES, Parameters
from camss_ros.lab.page import markdown_table, p50_p95, paragraph
from camss_ros.lab.score_section import score as score_of
from camss_ros.lab.speed_section import LabelledData, Progress, Section, SpeedSettings
from camss_ros.model.checkpoint import CONFIG_FILE, find_model, read_config

AIM_HZ = 60.0
# Of the sides of the model's own size. The least are as in the latency budget's reduced settings.
SHARES = (0.85, 0.75, 0.67, 0.6)

Size = tuple[int, int]  # (height, width)


def measure_sizes(
    own: Size,
    precisions: Sequence[str],
    measure: Callable[[Size, str], Mapping[str, Any]],
    score: Callable[[Size, str], Mapping[str, Any]],
) -> dict[str, Any]:
    """Rate, latency and mIoU at each size and precision, as JSON values.

    Args:
        own: the model's size.
        precisions: of the network, such as "auto".
        measure: as `benchmark.node_speed.measure_node`.
        score: `miou`, `backend` and `dtype`.
    """
    rows = []
    for size in dict.fromkeys(nearest_size(own, share) for share in SHARES):
        for precision in precisions:
            node = measure(size, precision)
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


def _measure(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    (size,) = SIZES[:1]

    def node(network_size: Size, precision: str) -> dict[str, Any]:
        height, width = network_size
        changed: Parameters = {"network_size": (width, height), "precision": precision}
        name = f"node, {width} x {height} in the network, {precision},"
        (measured,) = measure_node(settings, name, [size], changed, progress)["sizes"].values()
        return measured  # type: ignore[no-any-return]  # JSON values

    def score(network_size: Size, precision: str) -> dict[str, Any]:
        segmenter = settings.segmenter(precision=precision, network_size=network_size)
        height, width = network_size
        return score_of(f"{width} x {height}, {precision}", segmenter, data, progress)

    config = read_config(find_model(settings.spec.model) / CONFIG_FILE)
    precisions = [settings.spec.precision, *(["int8"] if settings.has_int8() else [])]
    rate = settings.node.latency_rates[0]
    return {
        "data": data.name,
        "image_size": f"{size[1]} x {size[0]}",
        "latency_at": f"{rate:g} Hz",
        **measure_sizes(config.input_size, precisions if can_resize(config) else [], node, score),
    }


SECTION = Section(
    "sizes",
    "Smaller images in the network",
    f"as an aim, {AIM_HZ:g} Hz at 480 x 360",
    _measure,
    show_sizes,
    needs="data",
)
