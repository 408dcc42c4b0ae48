"""What a model was trained on, written beside its weights for the drift that the node tells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from camss_ros.inference.drift import (
    LEAST_FRAMES,
    DriftReference,
    learn_reference,
    save_reference,
)
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.checkpoint import DRIFT_FILE, weights_hash
from camss_ros.training.progress import track
from camss_ros.training.sources import Pairs, TrainingData

_FRAMES = 300  # at most, of all sources together


def write_drift(models: tuple[Path, ...], data: TrainingData) -> None:
    """Write it into each of the model directories of a run, unless there are too few frames.

    Raises:
        DataError: a frame can't be read.
        OSError: a file can't be written.
    """
    if sum(map(len, _chosen(data))) < LEAST_FRAMES:
        return
    done: dict[str, Path] = {}
    for model in models:
        digest = weights_hash(model)
        if digest in done:
            shutil.copy(done[digest] / DRIFT_FILE, model)
        else:
            save_reference(reference_of(model, data), model)
            done[digest] = model


def reference_of(model: Path, data: TrainingData) -> DriftReference:
    """Of a model on frames of its sources, as many of each as it is drawn often.

    Raises:
        ValueError: there are fewer than `LEAST_FRAMES` frames.
        DataError: one can't be read.
    """
    segmenter = Segmenter(model)

    def look(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return segmenter.pooled_tokens(image), segmenter.segment(image).confidence

    try:
        sources = [
            _images(source.pairs, indices)
            for source, indices in zip(data.sources, _chosen(data), strict=True)
        ]
        return learn_reference(sources, look, segmenter.input_size)
    finally:
        segmenter.close()


def _chosen(data: TrainingData) -> list[range]:
    """Indices of the frames of each source, evenly spaced."""
    total = sum(source.share for source in data.sources)
    chosen = []
    for source in data.sources:
        wanted = max(1, round(_FRAMES * source.share / total))
        chosen.append(range(0, len(source.pairs), max(1, -(-len(source.pairs) // wanted))))
    return chosen


def _images(pairs: Pairs, indices: range) -> Iterator[np.ndarray]:
    for index in track(indices, "looking at training frames"):
        yield pairs[index][0]
