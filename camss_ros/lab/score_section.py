"""Sections of the page about speed: what it costs in scores, and smaller images in the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from camss_ros.evaluation.evaluate import evaluate
from camss_ros.evaluation.formats import number
from camss_ros.evaluation.metrics import json_number
from camss_ros.inference.network_size import can_resize
from camss_ros.lab.machine import describe_segmenter
from camss_ros.lab.node_section import measure_node
from camss_ros.lab.node_speed import SIZES
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.study_output import markdown_table, p50_p95, paragraph, verdict
from camss_ros.model.checkpoint import find_config

ALLOWED_MIOU_LOSS = 0.003
AIM_HZ = 60.0
SIZE_MIOU_LOSS = 0.02  # allowed at the aim


def _measure(run: SpeedRun) -> dict[str, Any]:
    data = run.labelled
    row = {
        "data": data.name,
        "frames": len(data.frames),
        "steps": run.settings.spec.sampling.steps,
        "reference": score(run, "reference", backend="torch", precision="fp32"),
        "chosen": score(run, "chosen"),
    }
    if run.settings.has_int8():
        row["int8"] = score(run, "int8", backend="openvino", precision="int8")
    return row


def score(run: SpeedRun, name: str, **changed: Any) -> dict[str, Any]:
    """Scores of the segmenter with some fields of its spec changed; None where all is void."""
    segmenter, data = run.settings.segmenter(**changed), run.labelled
    total = len(data.frames)
    result = evaluate(
        segmenter,
        data.frames,
        data.label_set,
        progress=lambda done: run.progress(f"scores, {name}: {done} of {total} frames"),
    )
    segmenter.close()
    return {
        **describe_segmenter(segmenter),
        "miou": json_number(result.scores.miou),
        "pixel_accuracy": json_number(result.scores.pixel_accuracy),
    }


def _show(row: dict[str, Any]) -> str:
    measured = [row[key] for key in ("reference", "chosen", "int8") if key in row]
    said = []
    for each in measured[1:]:
        if None in (measured[0]["miou"], each["miou"]):
            said.append(f"What is lost in {each['dtype']} is not known: the labels are void.")
            continue
        lost = measured[0]["miou"] - each["miou"]
        said.append(
            f"In {each['dtype']} {lost:+.4f} mIoU is lost; the promise "
            f"{verdict(lost <= ALLOWED_MIOU_LOSS)}."
        )
    table = markdown_table(
        ["backend", "mIoU", "pixel accuracy"],
        [
            [f"{each['backend']}, {each['dtype']}", number(each["miou"], 4),
             number(each["pixel_accuracy"], 4)]
            for each in measured
        ],
    )  # fmt: skip
    how = paragraph(f"""
        {row["frames"]} frames of {row["data"]}, steps: {row["steps"]}.
        {" ".join(said)}""")
    return f"{how}\n\n{table}"


SECTION = Section(
    "scores",
    "What speed costs",
    f"at most {ALLOWED_MIOU_LOSS:g} mIoU lost against eager float32 at the same steps",
    _measure,
    _show,
    needs="data",
)


def show_sizes(row: Mapping[str, Any]) -> str:
    """Markdown of what was measured."""
    if not row["rows"]:
        return "The model works at its own size only.\n"
    own, *others = row["rows"]
    names = list(own["miou"])

    def lost(each: Mapping[str, Any]) -> float:
        """mIoU against the own size, the worst of all data; what is not known counts as lost."""
        pairs = [(own["miou"][name], each["miou"][name]) for name in names]
        return max(1.0 if None in pair else pair[0] - pair[1] for pair in pairs)

    fast = [each for each in row["rows"] if each["hz"] is not None and each["hz"] >= AIM_HZ]
    best = min(fast, key=lost, default=None)
    reached = "**not reached**: no size is fast enough"
    if best is not None:
        reached = (
            f"{'**reached**' if lost(best) <= SIZE_MIOU_LOSS else '**not reached**'}: of those "
            f"that are fast enough, {best['size'][1]} x {best['size'][0]} in {best['dtype']} loses "
            f"least, {lost(best):.4f}"
        )
    how = paragraph(f"""
        As above, images of {row["image_size"]}, with `network_size` at the model's own
        {own["size"][1]} x {own["size"][0]} and at smaller ones. Times at {row["latency_at"]}, p50 /
        p95 in ms; mIoU on {" and on ".join(names)}. The aim is {reached}.""")
    header = ["in the network", "highest rate, Hz", "stamp to mask", "segmenter"]
    lines = [
        [
            f"{each['size'][1]} x {each['size'][0]}, {each['dtype']}", number(each["hz"], 1),
            p50_p95(each["stamp_to_mask_ms"]), p50_p95(each["segmenter_ms"]),
            *(number(each["miou"][name], 4) for name in names),
        ]
        for each in (own, *others)
    ]  # fmt: skip
    table = markdown_table([*header, *(f"mIoU, {name}" for name in names)], lines)
    return f"{how}\n\n{table}"


def _measure_sizes(run: SpeedRun) -> dict[str, Any]:
    """Rate, latency and mIoU at each size and precision."""
    settings = run.settings
    config = find_config(settings.spec.model)
    precisions = [settings.spec.precision, *(["int8"] if settings.has_int8() else [])]
    sizes = dict.fromkeys([config.input_size, *settings.network_sizes])
    rows = []
    for height, width in sizes if can_resize(config) else ():
        for precision in precisions:
            measure = partial(_measure_size, run, (height, width), precision)
            rows.append(run.part(f"{width} x {height}, {precision}", measure))
    return {
        "image_size": f"{SIZES[0][1]} x {SIZES[0][0]}",
        "latency_at": f"{settings.node.latency_rates[0]:g} Hz",
        "rows": rows,
    }


def _measure_size(run: SpeedRun, size: tuple[int, int], precision: str) -> dict[str, Any]:
    """At one (height, width) in one precision."""
    height, width = size
    name = f"{width} x {height}"
    (node,) = measure_node(
        run, f"node, {name} in the network, {precision},", SIZES[:1],
        network_size=(width, height), precision=precision,
    )["sizes"].values()  # fmt: skip
    latency = next(iter(node["latency"].values()))
    scores = {
        data.name: score(
            replace(run, data=data), f"{name}, {precision}, {data.name}",
            precision=precision, network_size=size,
        )
        for data in (run.labelled, *run.others)
    }  # fmt: skip
    first = scores[run.labelled.name]
    return {
        "size": [height, width],
        "backend": first["backend"],
        "dtype": first["dtype"],
        "hz": node["highest_rate"]["hz"],
        "stamp_to_mask_ms": latency["stamp_to_mask_ms"],
        "segmenter_ms": latency["segmenter_ms"],
        "miou": {data: each["miou"] for data, each in scores.items()},
    }


SIZE_SECTION = Section(
    "sizes",
    "Smaller images in the network",
    f"{AIM_HZ:g} Hz at 480 x 360 with at most {SIZE_MIOU_LOSS:g} mIoU lost against the model's "
    "own size",
    _measure_sizes,
    show_sizes,
    needs="data",
    every_data=True,
)
