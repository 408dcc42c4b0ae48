"""Section of the page about speed: what a latency budget of half the time makes of the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.evaluate import EveryNth, LabeledFrames, class_table
from camss_ros.evaluation.result_folder import write_image
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet
from camss_ros.lab.kept_budget import BudgetSettings, Node, measure_kept_budget
from camss_ros.lab.node_speed import Parameters
from camss_ros.lab.page import markdown_table, p50_p95, paragraph, verdict
from camss_ros.lab.speed_section import LabelledData, Progress, Section, SpeedSettings
from camss_ros.model.checkpoint import CONFIG_FILE, find_model, read_config

# Much to give up, and nothing that has to be built for it.
WITH_ROOM: Parameters = {"backend": "torch", "steps": 4, "samples": 4, "temperature": 1.0}
_RUNS: Mapping[str, Parameters] = {"as it is": {}, "with room": WITH_ROOM}


class _Pictures:
    """Some of the labelled frames as files, and their labels."""

    def __init__(self, frames: LabeledFrames, at_most: int, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._labels = {}
        some = EveryNth(frames, -(-len(frames) // at_most))
        for index in range(len(some)):
            image, label, _ = some[index]
            name = f"{index:06d}"
            write_image(folder / f"{name}.png", image)
            self._labels[name] = label

    def __len__(self) -> int:
        return len(self._labels)

    def miou(
        self,
        model: Sequence[LabelClass],
        label_set: LabelSet,
        results: Sequence[tuple[str, np.ndarray]],
    ) -> float:
        """Of label images with the model's classes; raises as `class_table`."""
        table = class_table(model, label_set)
        accumulator = ScoreAccumulator(len(label_set.classes))
        for name, labels in results:
            accumulator.add(self._labels[name], table[labels])
        return accumulator.scores().miou


def measure_budgets(
    model: str,
    parameters: Parameters,
    frames: LabeledFrames,
    label_set: LabelSet,
    settings: BudgetSettings,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """With the node's `parameters`, and with `WITH_ROOM` in their place.

    Raises as `measure_kept_budget`, `node_under_test` and `class_table`.
    """
    from camss_ros.lab.node_benchmark import node_under_test  # needs rclpy

    directory = find_model(model)
    classes = read_config(directory / CONFIG_FILE).label_set
    with TemporaryDirectory(prefix="camss_ros-") as temporary:
        logs = Path(temporary)
        pictures = _Pictures(frames, settings.pictures, logs / "pictures")

        def start(wanted: Parameters) -> AbstractContextManager[Node]:
            return node_under_test({**wanted, "model": str(directory.absolute())}, logs)

        runs = {}
        for name, wanted in _RUNS.items():
            runs[name] = measure_kept_budget(
                start, {**parameters, **wanted}, pictures.folder, len(pictures),
                partial(pictures.miou, classes, label_set), settings,
                lambda doing, name=name: progress(f"latency budget, {name}: {doing}"),  # type: ignore[misc]
            )  # fmt: skip
        return {"pictures": len(pictures), "rounds": settings.rounds, "runs": runs}


def holds(run: Mapping[str, Any]) -> bool:
    """Whether the budget of one of the runs was kept."""
    times = run["kept"]["latency"]["arrival_to_publication_ms"]
    return bool(times["p95"] <= run["budget_ms"])


def show_budgets(row: Mapping[str, Any]) -> str:
    """Markdown of what `measure_budgets` returned, which a `data` is added to."""
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
                p50_p95(latency["stamp_to_mask_ms"]), f"{run[side]['miou']:.4f}",
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


def _measure(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    measured = measure_budgets(
        str(settings.spec.model), settings.node_parameters(), data.frames, data.label_set,
        settings.budget, progress,
    )  # fmt: skip
    return {"data": data.name, **measured}


SECTION = Section(
    "budget",
    "Latency budget",
    "95 % of the images in `latency_budget_ms`, set to half of what they need without it",
    _measure,
    show_budgets,
    needs="data",
)
