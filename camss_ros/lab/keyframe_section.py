"""Section of the page about speed: the network on every n-th image of a clip only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from camss_ros.evaluation.evaluate import evaluate
from camss_ros.evaluation.formats import number
from camss_ros.evaluation.metrics import json_number
from camss_ros.lab.budget_section import write_pictures
from camss_ros.lab.machine import describe_segmenter
from camss_ros.lab.node_speed import measure_node
from camss_ros.lab.score_section import AIM_HZ, SIZE_MIOU_LOSS
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.study_output import markdown_table, p50_p95, paragraph
from camss_ros.model.checkpoint import find_model

INTERVALS = (1, 2, 3, 4)


def _measure(run: SpeedRun) -> dict[str, Any]:
    clip = run.labelled
    with TemporaryDirectory(prefix="camss_ros-") as name:
        logs, folder = Path(name), Path(name) / "clip"
        write_pictures(clip.frames, len(clip.frames), folder)
        rows = [
            run.part(f"every {interval}", partial(_measure_interval, run, logs, folder, interval))
            for interval in INTERVALS
        ]
    height, width = clip.frames[0][0].shape[:2]
    return {
        "data": clip.name,
        "frames": len(clip.frames),
        "image_size": f"{width} x {height}",
        "latency_at": f"{run.settings.node.latency_rates[-1]:g} Hz",
        "rows": rows,
    }


def _measure_interval(run: SpeedRun, logs: Path, folder: Path, interval: int) -> dict[str, Any]:
    from camss_ros.lab.node_benchmark import node_under_test  # needs rclpy

    settings, clip = run.settings, run.labelled
    name = f"network on every {interval}"
    run.progress(f"{name}, scores")
    segmenter = settings.segmenter(keyframe_interval=interval)
    result = evaluate(segmenter, clip.frames, clip.label_set, clip=True)
    segmenter.close()
    parameters = {
        **settings.node_parameters(),
        "model": str(find_model(settings.spec.model).absolute()),
        "keyframe_interval": interval,
    }
    with node_under_test(parameters, logs) as node:
        node_speed = measure_node(
            partial(node.send, folder), settings.node, lambda: run.progress(f"{name}, through DDS")
        )
    latency = list(node_speed["latency"].values())[-1]
    return {
        "interval": interval,
        **describe_segmenter(segmenter),
        "hz": node_speed["highest_rate"]["hz"],
        "drops": latency["drops"],
        "stamp_to_mask_ms": latency["stamp_to_mask_ms"],
        "segmenter_ms": latency["segmenter_ms"],
        "miou": json_number(result.scores.miou),
        "flicker": json_number(result.accumulator.flicker()),
    }


def show_intervals(row: Mapping[str, Any]) -> str:
    """Markdown of what was measured."""
    all_of_them = row["rows"][0]
    fast = [each for each in row["rows"] if each["hz"] is not None and each["hz"] >= AIM_HZ]
    reached = "**not reached**: none is fast enough"
    if None in (each["miou"] for each in row["rows"]):
        reached = "**not reached**: the labels are void, so that nothing tells what is lost"
    elif fast:
        best = max(fast, key=lambda each: each["miou"])
        lost = all_of_them["miou"] - best["miou"]
        reached = (
            f"{'**reached**' if lost <= SIZE_MIOU_LOSS else '**not reached**'}: with the network "
            f"on one image in {best['interval']}, {lost:.4f} is lost"
        )
    how = paragraph(f"""
        The {row["frames"]} frames of {row["data"]}, one clip of {row["image_size"]}, at the model's
        own size by {all_of_them["backend"]} in {all_of_them["dtype"]}, with `keyframe_interval`:
        scored in their order, and sent to the node through DDS round and round. Times at
        {row["latency_at"]}, p50 / p95 in ms. At a higher rate than that of the clip less moves
        between two images, and less is lost. The aim is {reached}.""")
    header = [
        "network on every", "highest rate, Hz", "lost", "stamp to mask", "segmenter", "mIoU",
        "flicker",
    ]  # fmt: skip
    lines = [
        [
            f"{each['interval']}", number(each["hz"], 1), f"{100 * each['drops']:.1f} %",
            p50_p95(each["stamp_to_mask_ms"]), p50_p95(each["segmenter_ms"]),
            number(each["miou"], 4), number(each["flicker"], 4),
        ]
        for each in row["rows"]
    ]  # fmt: skip
    return f"{how}\n\n{markdown_table(header, lines)}"


SECTION = Section(
    "keyframes",
    "Key frames",
    f"{AIM_HZ:g} Hz at 480 x 360 with at most {SIZE_MIOU_LOSS:g} mIoU lost against the network on "
    "every image",
    _measure,
    show_intervals,
    needs="clip",
)
