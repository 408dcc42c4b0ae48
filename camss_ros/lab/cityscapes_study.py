"""Scores on Cityscapes beside the paper's: over samplings, under corruptions, on other data sets,
and of the discriminative twin.

output/cityscapes.json      the scores of every contender on every data set, stored as they come
output/cityscapes_scores/   of every contender under every corruption, a file for each
output/cityscapes.md, .png  the page: a stopped study goes on, and writes it at the end
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.evaluation.evaluate import LabeledFrames, class_table, evaluate, evaluation_report
from camss_ros.images.label_sets import LabelSet
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.lab.cityscapes_page import write_cityscapes_page
from camss_ros.lab.conditions import data_conditions
from camss_ros.lab.robustness import Rows, score_conditions
from camss_ros.lab.study_output import ResultRows
from camss_ros.model.checkpoint import find_config
from camss_ros.model.schedule import SamplingOptions
from camss_ros.training.sources import resize_pair

MODE = "1 step"
MEAN = "noise start, 4 steps, mean of 8"
TWIN = "twin"
SAMPLINGS: Mapping[str, SamplingOptions] = {
    MODE: SamplingOptions(),
    "2 steps": SamplingOptions(steps=2),
    "4 steps": SamplingOptions(steps=4),
    "noise start, 4 steps": SamplingOptions(steps=4, temperature=1.0),
    MEAN: SamplingOptions(steps=4, temperature=1.0, samples=8),
}
"""How the model draws the latents, by name; the first is what the node runs by default."""

_IN_FULL = (MODE, MEAN, TWIN)  # what is scored on all data and under corruptions
_GROUPS = ("paper", "paper_scaled", "weather")


@dataclass(frozen=True)
class SizedData:
    """A labelled data set read at one size, which the network has too.

    Attributes:
        name: as the page says it.
        label_set: of its labels.
        size: (height, width), multiples of 16.
        frames: (image, label, name) by index, as they are read.
    """

    name: str
    label_set: LabelSet
    size: tuple[int, int]
    frames: LabeledFrames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        image, label, name = self.frames[index]
        return *resize_pair(image, label, self.size), name


def contenders(model: SegmenterSpec, twin: SegmenterSpec | None) -> dict[str, SegmenterSpec]:
    """The model with each of `SAMPLINGS`, and its twin if there is one."""
    found = {name: replace(model, sampling=sampling) for name, sampling in SAMPLINGS.items()}
    return found if twin is None else {**found, TWIN: twin}


def study_cityscapes(
    specs: Mapping[str, SegmenterSpec],
    data: Sequence[SizedData],
    output: Path,
    settings: dict[str, Any],
    command: str,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Path]:
    """Score the contenders and write the page, going on where an earlier run stopped.

    Args:
        specs: of `contenders`.
        data: the first for all contenders and the corruptions; the others, that the model may
            never have seen, for `MODE`, `MEAN` and the twin.
        settings: what the scores depend on, JSON-able; `seed` of the corruptions.
        command: as the page shows it.
        progress: called with what is scored, the frames or conditions done and their number.

    Returns:
        The files of the page.

    Raises:
        ValueError: model and data have different classes, or the model can't have a size.
        OutputMismatchError: `output` holds the results of other settings.
        ModelError: a model can't be read.
        OSError: `output` can't be written.
    """
    for one in data:
        for spec in specs.values():
            # what is wrong with a model, its size or the classes is told now, not after hours
            replace(spec, network_size=one.size).check()
            config = find_config(spec.model)
            class_table(config.label_set, config.name, one.label_set)
    folder = output / "cityscapes_scores"
    results = ResultRows(output / "cityscapes.json", settings, folder)
    in_full = {name: spec for name, spec in specs.items() if name in _IN_FULL}
    for index, one in enumerate(data):
        for name, spec in (specs if index == 0 else in_full).items():
            key = f"{one.name}: {name}"
            if key not in results:
                results.add(key, _scores(spec, one, partial(progress, key)))
    conditions = data_conditions(data[0], _GROUPS, settings["seed"])
    robustness: dict[str, Rows] = {}
    for name, spec in in_full.items():
        sized = replace(spec, network_size=data[0].size)
        robustness[name] = score_conditions(
            sized.open,
            [(data[0].label_set, conditions)],
            folder / name.replace(", ", "_").replace(" ", "_"),
            partial(progress, f"{name}, corruptions"),
        )
    results.finish()
    return write_cityscapes_page(output, command, settings, data, results, robustness)


def _scores(
    spec: SegmenterSpec, data: SizedData, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    segmenter = replace(spec, network_size=data.size).open()
    evaluation = evaluate(
        segmenter, data, data.label_set, progress=lambda done: progress(done, len(data))
    )
    scores = evaluation_report(evaluation, data.label_set)
    for name in ("seconds_per_frame", "flicker", "reliability"):
        del scores[name]
    return scores
