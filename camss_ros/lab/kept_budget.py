"""Whether the node keeps a latency budget, and what that costs: the measuring, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from camss_ros.evaluation.statistics import milliseconds
from camss_ros.lab.node_speed import LatencySample, Parameters, SentImages, latency_report

_LOAD = 0.7  # share of the time between two images that the slowest one of the trial may take
_BUDGET = 0.5  # of what the node needs without one


@dataclass(frozen=True)
class BudgetSettings:
    """How long to measure.

    Attributes:
        pictures: that are sent, at most, evenly spread over the data.
        rounds: of all pictures, with the budget.
        highest_rate: Hz. A slower node gets fewer images, so that it loses none.
        trial_rate, trial_images: of the images that tell how slow it is.
    """

    pictures: int = 50
    rounds: int = 4
    highest_rate: float = 10.0
    trial_rate: float = 2.0
    trial_images: int = 8


class Node(Protocol):
    """A running segmenter; see `nodes.node_benchmark.NodeUnderTest`."""

    @property
    def segmenter(self) -> dict[str, Any]: ...

    def send(
        self, folder: Path, rate: float, count: int, keep_labels: bool = False
    ) -> SentImages: ...


Start = Callable[[Parameters], AbstractContextManager[Node]]
Score = Callable[[Sequence[tuple[str, np.ndarray]]], float]  # mIoU of label images, by picture


def measure_kept_budget(
    start: Start,
    parameters: Parameters,
    folder: Path,
    pictures: int,
    score: Score,
    settings: BudgetSettings = BudgetSettings(),
    progress: Callable[[str], None] = lambda doing: None,
) -> dict[str, Any]:
    """The node as it is, then with a budget of half the time that it needed, as JSON values.

    Args:
        start: makes the node with these parameters.
        parameters: of the node without a budget.
        folder: of the pictures to send, and their number.

    Raises ValueError where the node segments nothing.
    """
    progress("how fast it is")
    with start(parameters) as node:
        trial = node.send(folder, settings.trial_rate, settings.trial_images).latencies.values()
        if not trial:
            raise ValueError(f"none of {settings.trial_images} images came back from the node")
        rate = min(settings.highest_rate, _LOAD / max(sample.in_node for sample in trial))
        progress("without a budget")
        free = _run(node, folder, rate, pictures, score)
    budget = round(_BUDGET * free["latency"]["arrival_to_publication_ms"]["p95"], 1)
    progress(f"with a budget of {budget} ms")
    limits = {"latency_budget_ms": budget, "allow_smaller_size": True}
    with start({**parameters, **limits}) as node:
        kept = _run(node, folder, rate, settings.rounds * pictures, score)
    return {"budget_ms": budget, "free": free, "kept": kept}


def _run(node: Node, folder: Path, rate: float, count: int, score: Score) -> dict[str, Any]:
    sent = node.send(folder, rate, count, keep_labels=True)
    if not sent.latencies:
        raise ValueError(f"none of {count} images came back from the node")
    return {
        "node": node.segmenter,
        "latency": latency_report(sent),
        "miou": score(sent.labels),
        "settings": _settings_used(list(sent.latencies.values())),
    }


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
