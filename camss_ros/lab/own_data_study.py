"""What labelled frames of an own drive are worth, and what picking them is worth.

A drive of a data set plays the own one: its first two thirds are what one may label, the last third
is what the models are scored on. Models: the one at the start, and that fine-tuned on frames at
random and on picked ones, as many of each.

output       the page
output.json  every row, stored as it comes: a stopped study goes on
output_runs/ the data and the runs
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from camss_ros.datasets.datasets import find_data_set, open_data
from camss_ros.datasets.labeled_images import LabeledImages
from camss_ros.datasets.picking.candidates import (
    CANDIDATES_FILE,
    Candidate,
    score_candidates,
)
from camss_ros.datasets.picking.drives import open_drives
from camss_ros.datasets.picking.frame_scores import FrameScorer
from camss_ros.datasets.picking.selection import select
from camss_ros.evaluation.evaluate import LabeledFrames, evaluate
from camss_ros.evaluation.formats import percent
from camss_ros.evaluation.metrics import by_class, json_number
from camss_ros.evaluation.result_folder import fingerprint, write_image
from camss_ros.images.frames import natural_key
from camss_ros.images.image_files import DataError
from camss_ros.images.label_sets import LabelSet, save_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.study_output import ResultRows, markdown_table, paragraph, write_page
from camss_ros.training.finetune import FinetuneOptions, check_overrides, finetune

ARMS = ("random", "picked")
_START = "none"
_POOL = 2 / 3  # of the drive
_GAP = 2  # frames between what may be labelled and what is scored
_RANDOM_SHARE = 0.2  # of the picked frames, as of `camss-ros pick`
_HELD_OUT = 0.2  # of the labelled frames: the validation of `finetune`


def frames_of_drive(splits: Sequence[LabeledImages], drive: str) -> Subset[Any]:
    """The frames of all splits whose names begin with `drive`, in the order of the names:
    frame2 before frame10.

    Raises DataError where there are too few.
    """
    names = [sample.name for split in splits for sample in split.samples]
    found = [index for index, name in enumerate(names) if name.startswith(drive)]
    if len(found) < 15:
        raise DataError(f"{len(found)} frames have names that begin with {drive!r}: expected 15")
    frames: ConcatDataset[Any] = ConcatDataset(splits)  # type: ignore[arg-type]
    return Subset(frames, sorted(found, key=lambda index: natural_key(names[index])))


def study_own_data(
    model: str,
    data: str,
    root: Path,
    drive: str,
    count: int,
    seeds: int,
    options: tuple[str, ...],
    minutes: float,
    output: Path,
    settings: dict[str, Any],
    command: str,
    stage: Callable[[str], None] = lambda text: None,
) -> None:
    """Fine-tune and score every row, and write the page to `output`, going on where it stopped.

    Args:
        model: at the start; one that has not seen the drive.
        data, root: the data set.
        drive: how the names of its frames begin.
        count: frames to label.
        seeds: runs of each kind.
        options, minutes: overrides and time of each run; see `FinetuneOptions`.
        output: of the page, a name that ends in .md.
        settings, command: of the page; `settings` are what the rows depend on.
        stage: told what is done.

    Raises as `finetune`, and OutputMismatchError where `output` has the rows of other settings
    beside it.
    """
    check_overrides(model, options)
    runs = output.with_name(f"{output.stem}_runs")
    splits = [open_data(data, root, split) for split in find_data_set(data).splits(root)]
    if not splits:
        raise DataError(f"{root} has no labelled split of {data}")
    label_set = splits[0].label_set
    frames = frames_of_drive(splits, drive)
    end = round(_POOL * len(frames))
    pool = Subset(frames, range(end - _GAP))
    scored = Subset(frames, range(end, len(frames)))
    if count >= len(pool):
        raise DataError(f"{len(pool)} frames of {drive} may be labelled: {count} are no choice")
    files = [path for split in splits for path in split.files]
    settings = {**settings, "files_fingerprint": fingerprint(files)}
    results = ResultRows(output.with_suffix(".json"), settings, runs)
    rows = [(_START, 0), *((arm, seed) for seed in range(seeds) for arm in ARMS)]
    missing = [(arm, seed) for arm, seed in rows if f"{arm} {seed}" not in results]
    chosen = _choose(missing, pool, count, model)
    for arm, seed in missing:
        key = f"{arm} {seed}"
        stage(key)
        trained: str | Path = model
        if arm != _START:
            folder, run = runs / f"{arm}_{seed}_data", runs / f"{arm}_{seed}"
            _write(sorted(chosen[arm, seed]), pool, label_set, folder)
            given = (*options, f"loop.seed={seed}", f"masks.loop.seed={seed}")
            finetune(FinetuneOptions(folder, run, model, minutes, None, given), stage)
            trained = run / "best"
        stage(f"scoring {key}")
        results.add(key, _score(trained, scored, label_set))
    results.finish()
    parts = _parts(results, seeds, len(pool), scored, label_set, settings)
    write_page(output, "Labelled frames of an own drive", command, *parts)


def _choose(
    rows: Sequence[tuple[str, int]], pool: LabeledFrames, count: int, model: str
) -> dict[tuple[str, int], list[int]]:
    """Indices into the pool, of each (arm, seed).

    Raises DataError where fewer are picked, since the others are near-duplicates.
    """
    chosen = {
        (arm, seed): np.random.default_rng(seed).choice(len(pool), count, replace=False).tolist()
        for arm, seed in rows
        if arm == "random"
    }
    picked = [seed for arm, seed in rows if arm == "picked"]
    candidates = _candidates(pool, model) if picked else []
    for seed in picked:
        picks = select(candidates, count, _RANDOM_SHARE, seed)
        if len(picks) < count:
            raise DataError(
                f"{len(picks)} of the {len(pool)} frames that may be labelled can be picked, the "
                f"others are near-duplicates of them: {count} are too many"
            )
        chosen["picked", seed] = [candidates[pick.index].number for pick in picks]
    return chosen


def _candidates(pool: LabeledFrames, model: str) -> list[Candidate]:
    """The frames of the pool as `camss-ros pick` looks at them."""
    with TemporaryDirectory(prefix="camss_ros-") as name:
        images = Path(name) / "pool"
        images.mkdir()
        for index in range(len(pool)):
            write_image(images / f"{index:05d}.png", pool[index][0])
        segmenter = Segmenter(model)
        candidates = score_candidates(
            open_drives([images], ()), FrameScorer(segmenter), 0.0, Path(name) / CANDIDATES_FILE
        )
        segmenter.close()
    return candidates


def _write(
    chosen: Sequence[int],
    pool: LabeledFrames,
    label_set: LabelSet,
    folder: Path,
) -> None:
    """A data set of layout `folder`, whose validation is the end of the drive."""
    shutil.rmtree(folder, ignore_errors=True)
    held_out = max(1, round(_HELD_OUT * len(chosen)))
    for place, index in enumerate(chosen):
        image, label, _ = pool[index]
        part = folder / ("val" if place >= len(chosen) - held_out else "train")
        for kind, pixels in (("images", image), ("labels", label)):
            (part / kind).mkdir(parents=True, exist_ok=True)
            write_image(part / kind / f"{index:05d}.png", pixels)
    save_label_set(label_set, folder / "label_set.yaml")


def _score(model: str | Path, frames: LabeledFrames, label_set: LabelSet) -> dict[str, Any]:
    segmenter = Segmenter(model)
    scores = evaluate(segmenter, frames, label_set).scores
    segmenter.close()
    return {
        "miou": json_number(scores.miou),
        "per_class_iou": by_class(label_set.classes, scores.per_class_iou),
    }


def _parts(
    results: ResultRows,
    seeds: int,
    pool: int,
    scored: LabeledFrames,
    label_set: LabelSet,
    settings: dict[str, Any],
) -> tuple[str, str, str]:
    """Of the page: method, table and what picking is worth."""
    names = [it.name for it in label_set.classes]
    start = results[f"{_START} 0"]
    lines = [[_START, percent(start["miou"]), *_classes([start], names)]]
    means: dict[str, np.ndarray] = {}
    for arm in ARMS:
        of_arm = [results[f"{arm} {seed}"] for seed in range(seeds)]
        means[arm] = np.array([row["miou"] for row in of_arm])
        spread = f"{100 * means[arm].mean():.1f} ± {100 * means[arm].std(ddof=seeds > 1):.1f}"
        lines.append([arm, spread, *_classes(of_arm, names)])
    table = markdown_table(["labelled frames", "mIoU, %", *names], lines)
    gains = 100 * (means["picked"] - means["random"])
    present = {value for index in range(len(scored)) for value in np.unique(scored[index][1])}
    absent = [it.name for it in label_set.classes if it.id not in present]
    note = (
        f"Not in the scored frames: {', '.join(absent)}. Such a class counts 0 in a mean once a "
        "single pixel is taken for it, and not at all otherwise."
    )
    data, model = settings["data"], settings["model"]
    method = paragraph(f"""
        Drive {data["drive"]} of {data["name"]}: {settings["count"]} of its first {pool} frames are
        labelled, and the models are scored on its last {len(scored)}. Each run is
        `camss-ros finetune` from `{model["name"]}` (weights sha256 `{model["sha256"]}`) for
        {settings["minutes"]:g} minutes at most, its validation the last fifth of the labelled
        frames; {seeds} seeds, mean and standard deviation. Picked as by
        `camss-ros pick`, a fifth of them at random.
        {note if absent else ""}""")
    verdict = paragraph(f"""
        **Picking against random frames: {gains.mean():+.1f} points of mIoU**, by seed
        {", ".join(f"{gain:+.1f}" for gain in gains)}.""")
    return method, table, verdict


def _classes(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    def mean(name: str) -> float | None:
        values = [row["per_class_iou"][name] for row in rows]
        return None if None in values else float(np.mean(values))

    return [percent(mean(name)) for name in names]
