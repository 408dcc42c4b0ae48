"""What is common to studies of how latents are drawn: rows, their scores, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camss_ros.evaluation.evaluate import LabeledFrames, evaluate, evaluation_report
from camss_ros.evaluation.formats import number
from camss_ros.images.label_sets import LabelSet
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.study_output import ResultRows, markdown_table
from camss_ros.model.schedule import SamplingOptions


@dataclass(frozen=True)
class StudyRow:
    """One row of a study.

    Attributes:
        cells: that a table's row begins with.
        key: names what is computed; rows of one key are computed once.
        sampling: how latents are drawn.
    """

    cells: tuple[str, ...]
    key: str
    sampling: SamplingOptions


@dataclass(frozen=True)
class SamplingStudy:
    """What the rows of a study are scored with, and where its results go.

    Attributes:
        segmenter: whose `sampling` is set row by row.
        frames: that are scored; of a clip, in the order of time.
        page: Markdown file, a name that ends in .md. Scores and plot stand beside it: .json, .png.
        settings: what the scores depend on beside the rows, JSON-able. Its `model` has `name`,
            `sha256` and `dtype`, its `data` has `name`, `split` and `frames`; the page says them.
        command: as the page shows it.
        progress: called with the frames done and their number, over all rows.
    """

    segmenter: Segmenter
    frames: LabeledFrames
    label_set: LabelSet
    page: Path
    settings: dict[str, Any]
    command: str
    progress: Callable[[int, int], None] = lambda done, total: None

    @property
    def plot(self) -> Path:
        """The file of the plot."""
        return self.page.with_suffix(".png")

    def score(self, rows: Sequence[StudyRow], *, clip: bool = False) -> ResultRows:
        """Score every row, going on where an earlier run stopped.

        Raises:
            ValueError: model and data have different classes, or the frames of a clip differ in
                size.
            OutputMismatchError: there are results of other settings.
            OSError: a result can't be written.
        """
        results = ResultRows(self.page.with_suffix(".json"), self.settings)
        samplings = {row.key: row.sampling for row in rows}
        total = len(samplings) * len(self.frames)
        for index, (key, sampling) in enumerate(samplings.items()):
            before = index * len(self.frames)
            if key not in results:
                scores = score_sampling(
                    self.segmenter, sampling, self.frames, self.label_set, clip=clip,
                    progress=lambda done, before=before: self.progress(before + done, total),  # type: ignore[misc]
                )  # fmt: skip
                results.add(key, scores)
            self.progress(before + len(self.frames), total)
        results.finish()
        return results

    def tables(
        self,
        header: Sequence[str],
        rows: Sequence[StudyRow],
        results: ResultRows,
        columns: Mapping[str, str],
        decimals: int = 3,
    ) -> tuple[str, str]:
        """Markdown tables: the scores of each row, and the IoU of each class.

        Args:
            header: of the rows' own cells.
            columns: keys of the scores, by their title.
            decimals: of the scores.
        """
        names = [label_class.name for label_class in self.label_set.classes]
        scores, per_class = [], []
        for row in rows:
            result = results[row.key]
            cells = (_cell(result[key], decimals) for key in columns.values())
            scores.append([*row.cells, *cells])
            per_class.append([*row.cells, *(number(result["per_class_iou"][n]) for n in names)])
        return (
            markdown_table([*header, *columns], scores),
            markdown_table([*header, *names], per_class),
        )

    def describe(self) -> str:
        """What was scored on what, for the page."""
        model, data = self.settings["model"], self.settings["data"]
        return (
            f"Model `{model['name']}` (weights sha256 `{model['sha256']}`, computed in "
            f"{model['dtype']}) on {data['frames']} frames of {data['name']} {data['split']}, at "
            "the size of the labels; void is ignored."
        )


def score_sampling(
    segmenter: Segmenter,
    sampling: SamplingOptions,
    frames: LabeledFrames,
    label_set: LabelSet,
    *,
    clip: bool,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Score a model with one sampling.

    Args:
        segmenter: its `sampling` is set.
        clip, progress: as of `evaluate`.

    Returns:
        All scores as JSON values; of a clip also its flicker and `warm_frames`, the number of those
        that continued the frame before.

    Raises:
        ValueError: as of `evaluate`.
    """
    warm: list[bool] = []
    segmenter.sampling = sampling
    segmenter.forget_last_frames()
    evaluation = evaluate(
        segmenter, frames, label_set, clip=clip, progress=progress,
        on_frame=lambda frame: warm.append(frame.result.warm),
    )  # fmt: skip
    scores = evaluation_report(evaluation, label_set)
    del scores["seconds_per_frame"]
    if clip:
        scores = {"warm_frames": sum(warm), **scores}
    else:
        del scores["flicker"]
    return {"sampling": asdict(sampling), **scores}


def _cell(value: float | None, decimals: int) -> str:
    return str(value) if isinstance(value, int) else number(value, decimals)
