"""Section of the page about speed: what a latency budget of half the time makes of the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.evaluate import LabeledFrames, class_table, every_nth
from camss_ros.evaluation.formats import number
from camss_ros.evaluation.metrics import json_number
from camss_ros.evaluation.result_folder import write_image
from camss_ros.evaluation.statistics import milliseconds
from camss_ros.lab.node_speed import LatencySample, Parameters, SentImages, latency_report
from camss_ros.lab.speed_section import BudgetSettings, Section, SpeedRun
from camss_ros.lab.study_output import markdown_table, p50_p95, paragraph, verdict
from camss_ros.model.checkpoint import find_config, find_model

if TYPE_CHECKING:
    from camss_ros.lab.node_benchmark import NodeUnderTest

# Much that the node can reduce, and no graph that has to be built first.
WITH_ROOM: Parameters = {"backend": "torch", "steps": 4, "samples": 4, "temperature": 1.0}
_RUNS: Mapping[str, Parameters] = {"as it is": {}, "with room": WITH_ROOM}
_LOAD = 0.7  # share of the time between two images that the slowest one of the trial may take
_BUDGET = 0.5  # of what the node needs without one


def measure_budget(
    start: Callable[[Parameters], AbstractContextManager[NodeUnderTest]],
    parameters: Parameters,
    folder: Path,
    pictures: int,
    score: Callable[[Sequence[tuple[str, np.ndarray]]], float | None],
    settings: BudgetSettings,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """The node as it is, then with a budget of half the time that it needed, as JSON values.

    Args:
        start: makes the node with these parameters.
        parameters: of the node without a budget.
        folder, pictures: of the pictures to send, and their number.
        score: mIoU of label images, given with the names of their pictures.
        settings: how long to measure.
        progress: called with what is being done.

    Raises:
        ValueError: the node segments nothing.
    """

    def send(node: NodeUnderTest, rate: float, count: int) -> SentImages:
        sent = node.send(folder, rate, count, keep_labels=True)
        if not sent.latencies:
            raise ValueError(f"none of {count} images came back from the node")
        return sent

    def run(node: NodeUnderTest, rate: float, count: int) -> dict[str, Any]:
        sent = send(node, rate, count)
        return {
            "node": node.segmenter,
            "latency": latency_report(sent),
            "miou": score(sent.labels),
            "settings": _settings_used(list(sent.latencies.values())),
        }

    progress("how fast it is")
    with start(parameters) as node:
        trial = send(node, settings.trial_rate, settings.trial_images)
        slowest = max(sample.in_node for sample in trial.latencies.values())
        rate = min(settings.highest_rate, _LOAD / slowest)
        progress("without a budget")
        free = run(node, rate, pictures)
    budget = round(_BUDGET * free["latency"]["arrival_to_publication_ms"]["p95"], 1)
    progress(f"with a budget of {budget} ms")
    limits = {"latency_budget_ms": budget, "allow_smaller_size": True}
    with start({**parameters, **limits}) as node:
        kept = run(node, rate, settings.rounds * pictures)
    return {"budget_ms": budget, "free": free, "kept": kept}


def _settings_used(latencies: Sequence[LatencySample]) -> list[dict[str, Any]]:
    """Share of the images and time from arrival to publication with each setting, the one used
    first before the others."""
    used: dict[tuple[int, int, tuple[int, int]], list[float]] = {}
    for each in latencies:
        key = each.steps, each.samples, each.network_size
        used.setdefault(key, []).append(each.in_node)
    return [
        {
            "steps": steps,
            "samples": samples,
            "network_size": list(size),
            "share": len(seconds) / len(latencies),
            "arrival_to_publication_ms": milliseconds(seconds),
        }
        for (steps, samples, size), seconds in used.items()
    ]


def write_pictures(frames: LabeledFrames, at_most: int, folder: Path) -> dict[str, np.ndarray]:
    """Some of the labelled frames as files in a new folder; their labels, by the file's stem."""
    folder.mkdir()
    labels = {}
    some = every_nth(frames, -(-len(frames) // at_most))
    for index in range(len(some)):
        name = f"{index:06d}"
        image, labels[name], _ = some[index]
        write_image(folder / f"{name}.png", image)
    return labels


def _miou(
    truth: Mapping[str, np.ndarray],
    table: np.ndarray,
    classes: int,
    results: Sequence[tuple[str, np.ndarray]],
) -> float | None:
    """Of label images in the model's classes, which `table` takes to those of the truth; None
    where all of it is void."""
    accumulator = ScoreAccumulator(classes)
    for name, labels in results:
        accumulator.add(truth[name], table[labels])
    return json_number(accumulator.scores().miou)


def _measure(run: SpeedRun) -> dict[str, Any]:
    """With the node's own parameters, and with `WITH_ROOM` in their place."""
    from camss_ros.lab.node_benchmark import node_under_test  # needs rclpy

    data, settings = run.labelled, run.settings.budget
    directory = find_model(run.settings.spec.model)
    config = find_config(directory)
    table = class_table(config.label_set, config.name, data.label_set)
    with TemporaryDirectory(prefix="camss_ros-") as temporary:
        logs = Path(temporary)
        folder = logs / "pictures"
        truth = write_pictures(data.frames, settings.pictures, folder)

        def start(wanted: Parameters) -> AbstractContextManager[NodeUnderTest]:
            return node_under_test({**wanted, "model": str(directory.absolute())}, logs)

        runs = {}
        for name, wanted in _RUNS.items():
            runs[name] = measure_budget(
                start, {**run.settings.node_parameters(), **wanted}, folder, len(truth),
                partial(_miou, truth, table, len(data.label_set.classes)), settings,
                lambda doing, name=name: run.progress(f"latency budget, {name}: {doing}"),  # type: ignore[misc]
            )  # fmt: skip
        return {
            "data": data.name,
            "pictures": len(truth),
            "rounds": settings.rounds,
            "runs": runs,
        }


def holds(run: Mapping[str, Any]) -> bool:
    """Whether the budget of one of the runs was kept."""
    times = run["kept"]["latency"]["arrival_to_publication_ms"]
    return bool(times["p95"] <= run["budget_ms"])


def show_budgets(row: Mapping[str, Any]) -> str:
    """Markdown of what was measured."""
    lines, used = [], []
    for run in row["runs"].values():
        first = run["free"]["settings"][0]
        backend = run["free"]["node"]["backend"]
        name = f"steps {first['steps']}, samples {first['samples']}, {backend}"
        for side, budget in (("free", "none"), ("kept", f"{run['budget_ms']:.1f}")):
            latency = run[side]["latency"]
            lines.append([
                name, budget, f"{latency['sent_hz']:.1f}", f"{100 * latency['drops']:.1f} %",
                p50_p95(latency["arrival_to_publication_ms"]),
                p50_p95(latency["stamp_to_mask_ms"]), number(run[side]["miou"], 4),
            ])  # fmt: skip
        for each in run["kept"]["settings"]:
            height, width = each["network_size"]
            used.append([
                name, str(each["steps"]), str(each["samples"]), f"{width} x {height}",
                f"{100 * each['share']:.1f} %", p50_p95(each["arrival_to_publication_ms"]),
            ])  # fmt: skip
    as_it_is, with_room = row["runs"].values()
    how = paragraph(f"""
        {row["pictures"]} frames of {row["data"]}, sent to the node through DDS, no faster than it
        keeps up with; with the budget {row["rounds"]} times, and `allow_smaller_size`. The budget
        is half of p95 without one, just before. All images count, the first ones too, by which the
        node learns that it has to give way. mIoU is that of the masks that came back; times are
        p50 / p95 in ms. With the default settings the promise {verdict(holds(as_it_is))}, with
        {WITH_ROOM["steps"]} steps and {WITH_ROOM["samples"]} samples (temperature
        {WITH_ROOM["temperature"]:g}, {WITH_ROOM["backend"]}) it {verdict(holds(with_room))}.
        {_least(as_it_is, "the default settings")} {_least(with_room, "the others")}""")
    table = markdown_table(
        ["node", "budget, ms", "images, Hz", "lost", "arrival to publication", "stamp to mask",
         "mIoU"],
        lines,
    )  # fmt: skip
    settings = markdown_table(
        ["node", "steps", "samples", "network's input", "share of the images",
         "arrival to publication"],
        used,
    )  # fmt: skip
    return f"{how}\n\n{table}\nWhat the node chose with the budget:\n\n{settings}"


def _least(run: Mapping[str, Any], what: str) -> str:
    """Where the budget was not kept: how long the least of the settings in use took."""
    if holds(run):
        return ""
    least = min(
        run["kept"]["settings"],
        key=lambda each: (each["steps"], each["samples"], each["network_size"]),
    )
    height, width = least["network_size"]
    time = least["arrival_to_publication_ms"]["p95"]
    return (
        f"Of {what} the least that it came to (steps {least['steps']}, samples "
        f"{least['samples']}, {width} x {height}) took {time:.1f} ms (p95 of its own images), "
        f"where {run['budget_ms']:.1f} ms were allowed."
    )


SECTION = Section(
    "budget",
    "Latency budget",
    "95 % of the images in `latency_budget_ms`, set to half of what they need without it",
    _measure,
    show_budgets,
    needs="data",
)
