"""What label images lose in an autoencoder: continuous against quantised latents, one-hot labels
against palette colours, each trained alike with several seeds.

    output/kl_vs_vq.json   the scores of every run, stored as they come: a stopped study goes on
    output/kl_vs_vq.md     the table
    output/kl_vs_vq.png    the scores with their spread
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.evaluation.boundary import DILATION_RATIO
from camss_ros.evaluation.formats import percent
from camss_ros.evaluation.report_plots import new_figure
from camss_ros.images.label_sets import LabelSet
from camss_ros.lab.mask_autoencoders import COMMITMENT_WEIGHT, KL_WEIGHT, variants
from camss_ros.lab.study_output import (
    ResultRows,
    markdown_table,
    paragraph,
    save_figure,
    write_page,
)
from camss_ros.lab.train_masks import (
    THIN_CLASSES,
    MaskTraining,
    StudyError,
    score_variant,
    train_variant,
)
from camss_ros.model.autoencoder import MaskAutoencoderConfig
from camss_ros.training.label_codes import LabelCodes, class_weights, code_shares

_REFERENCE = "KL, one-hot"
_COLUMNS = {
    "mIoU": "miou",
    "boundary IoU": "boundary_iou",
    "thin-class IoU": "thin_iou",
    "pixel accuracy": "pixel_accuracy",
}
_CODE_COLUMNS = {"codes used": "codes_used", "perplexity": "perplexity"}


def study_kl_vs_vq(
    train: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    label_set: LabelSet,
    output: Path,
    settings: dict[str, Any],
    command: str,
    training: MaskTraining,
    seeds: int,
    *,
    config: MaskAutoencoderConfig = MaskAutoencoderConfig(),
    progress: Callable[[str, int], None] = lambda run, step: None,
) -> None:
    """Train and score every variant with every seed and write `output`, going on where it stopped.

    Args:
        train, held_out: label images uint8 [H, W], 255 for void; held-out ones at least 16 x 16.
        settings: what the scores depend on beside `training` and `config`, JSON-able; its `data`
            has `name`, `train` and `held_out` (splits) and `train_frames`, which the page says.
        command: as the page shows it.
        seeds: runs of each variant, with the seeds 0, 1, ...
        progress: called with the run and its steps done, also of runs that were there already.

    Raises:
        StudyError: a run's loss is no number; the others' results are kept.
        OutputMismatchError: `output` holds the results of other settings.
        OSError: it can't be written.
    """
    builders = variants(config)
    settings = {**settings, "training": asdict(training), "autoencoder": asdict(config)}
    results = ResultRows(output / "kl_vs_vq.json", settings)
    codes = LabelCodes(len(label_set.classes))
    weights = class_weights(code_shares(train, codes), codes)

    # Seed by seed, so that a stopped study has something to say about all variants.
    for seed, (name, build) in product(range(seeds), builders.items()):
        key = run_key(name, seed)
        if key not in results:
            try:
                model = train_variant(
                    build, train, weights, label_set, training, seed, partial(progress, key)
                )
            except StudyError as error:
                raise StudyError(f"{name}: {error}; the finished runs are kept") from error
            results.add(key, score_variant(model, held_out, label_set))
        progress(key, training.steps)
    results.finish()
    rows = {name: [results[run_key(name, seed)] for seed in range(seeds)] for name in builders}
    _plot(rows, output / "kl_vs_vq.png")
    title = "Label images through autoencoders: KL against VQ, one-hot against palette"
    parts = _parts(rows, len(held_out), label_set, settings["data"], training, config)
    write_page(output / "kl_vs_vq.md", title, command, *parts)


def run_key(name: str, seed: int) -> str:
    """Names a run in the JSON file."""
    return f"{name}, seed {seed}"


def summarize(runs: Sequence[Mapping[str, Any]], column: str) -> tuple[float, float] | None:
    """Mean and sample standard deviation (0 of a single run) of a score; None where it has none."""
    values = [run[column] for run in runs if run[column] is not None]
    if not values:
        return None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def loss_against(rows: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> float | None:
    """Share of the reference's mean mIoU that a variant's lies below it; below 0 if above."""
    one, other = summarize(rows[_REFERENCE], "miou"), summarize(rows[name], "miou")
    if one is None or other is None or one[0] == 0:
        return None
    return 1 - other[0] / one[0]


def _cell(runs: Sequence[Mapping[str, Any]], column: str) -> str:
    summary = summarize(runs, column)
    if summary is None:
        return "-"
    digits = 0 if column == "perplexity" else 3
    return f"{summary[0]:.{digits}f} ± {summary[1]:.{digits}f}"


def _parts(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    frames: int,
    label_set: LabelSet,
    data: Mapping[str, Any],
    training: MaskTraining,
    config: MaskAutoencoderConfig,
) -> list[str]:
    """Of the page, below its title."""
    columns = {**_COLUMNS, **_CODE_COLUMNS}
    table = markdown_table(
        ["variant", *columns, f"mIoU lost against {_REFERENCE}"],
        [
            [
                name,
                *(_cell(runs, key) for key in columns.values()),
                percent(loss_against(rows, name), " %"),
            ]
            for name, runs in rows.items()
        ],
    )
    names = [label_class.name for label_class in label_set.classes]
    per_class = markdown_table(
        ["variant", *names],
        [
            [name, *(_cell([run["per_class_iou"] for run in runs], each) for each in names)]
            for name, runs in rows.items()
        ],
    )
    thin = ", ".join(name for name in names if name in THIN_CLASSES) or "none in this label set"
    losses = {name: loss_against(rows, name) for name in rows if name.startswith("VQ")}
    lost = "; ".join(f"{name.split(',')[0]} {percent(loss, ' %')}" for name, loss in losses.items())
    seeds = len(rows[_REFERENCE])
    method = paragraph(f"""
        Each variant is trained from scratch on the {data["train_frames"]} label images of
        {data["name"]} {data["train"]} for {training.steps} steps of {training.batch} crops of
        {training.crop} x {training.crop} pixels (peak learning rate {training.learning_rate:g}),
        with {seeds} seeds, and scored on the reconstruction of the {frames} label images of
        {data["held_out"]}, sides cut to multiples of 16. Numbers are mean ± sample standard
        deviation over the seeds. Every variant has the same encoder and decoder (widths
        {", ".join(map(str, config.widths))}), {config.latent_channels} channels for 16 x 16 pixels,
        and for a seed the same crops. KL weight {KL_WEIGHT:g}, commitment weight
        {COMMITMENT_WEIGHT:g}, codebooks by moving averages with unused codes moved. "Palette RGB"
        is the official setting: painted labels, an autoencoder of colour images, the nearest
        colour. The losses weight classes alike; void is ignored in loss and scores. Thin classes:
        {thin}. Boundary IoU: dilation ratio {DILATION_RATIO}.""")
    outcome = paragraph(f"""
        The paper (arXiv 2503.15617) says that masks lose 8 % in a quantised autoencoder. Here, at
        this size and after so many steps, the share of the mIoU of "{_REFERENCE}" that is lost is:
        {lost}. The palette loses
        {percent(loss_against(rows, "KL, palette RGB"), " %")}. A negative share is a gain.""")
    return [
        method,
        "![Scores of the variants](kl_vs_vq.png)",
        table,
        outcome,
        "IoU of each class:",
        per_class,
    ]


def _plot(rows: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    figure = new_figure(10, 4)
    axes = figure.subplots()
    plotted = [column for column in _COLUMNS if column != "pixel accuracy"]
    width = 0.8 / len(rows)
    for index, (name, runs) in enumerate(rows.items()):
        summaries = [summarize(runs, _COLUMNS[column]) or (0.0, 0.0) for column in plotted]
        places = np.arange(len(plotted)) + (index - (len(rows) - 1) / 2) * width
        means, spreads = zip(*summaries, strict=True)
        axes.bar(places, means, width, yerr=spreads, capsize=3, label=name)
    axes.set_xticks(range(len(plotted)), plotted)
    axes.set_ylabel("held-out score")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(rows))
    save_figure(figure, path)
