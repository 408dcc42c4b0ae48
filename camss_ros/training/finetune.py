"""Train a model further on own labelled images, from a data set of layout `folder` to a model.

output/                the run of the segmenter: config.yaml, checkpoint.pt, last/, best/, ...
output/masks/          with other classes: the run of the mask autoencoder, from masks/start/
output/start/          with other classes: the model that the segmenter began from
output/finetune.json   scores before and after
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from camss_ros.datasets.datasets import find_data_set, open_data
from camss_ros.datasets.labeled_images import LabeledImages
from camss_ros.evaluation.evaluate import LabeledFrames, class_table, evaluate, every_nth
from camss_ros.evaluation.result_folder import write_json
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_mapping import label_set_of
from camss_ros.images.label_sets import LabelSet, LabelSetError, NoMappingError, load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.autoencoder import MaskAutoencoder
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import load_pretrained, save_pretrained
from camss_ros.model.config import CamSegConfig
from camss_ros.resources import config_file
from camss_ros.training.config import AutoencoderConfig, Config, SegmenterConfig, SourceConfig
from camss_ros.training.config_files import load_config, override
from camss_ros.training.loop import CHECKPOINT
from camss_ros.training.other_classes import class_origins, with_other_classes
from camss_ros.training.resume import begin_run
from camss_ros.training.run_folder import TrainingError
from camss_ros.training.start import AUTOENCODER
from camss_ros.training.train_autoencoder import AUTOENCODER_FILE, train_autoencoder
from camss_ros.training.train_segmenter import train_segmenter

SCORES_FILE = "finetune.json"
_MASKS = "masks."  # overrides of the mask autoencoder's training begin with it
_MASKS_TIME = 0.2  # share of the minutes that it gets
_ORIGINAL_SHARE = 0.3  # of the samples, where the original data are mixed in
_VALIDATED = 40  # frames of a validation, at most twice as many
_SCORED = 100  # frames of each data set that are scored before and after, at most twice as many


@dataclass(frozen=True)
class FinetuneOptions:
    """What is trained, and on what.

    Attributes:
        data: folder of layout `folder` with the splits train and val.
        output: folder of the run.
        model: bundled name, directory or Hub id of the model to begin with.
        minutes: time of the training, over all resumptions.
        original: folder of the data sets of `config/train/camss_tiny_street.yaml`, those of them
            that are there are mixed in; None for none.
        overrides: "dotted.path=value" of the configuration; those of the mask autoencoder's
            begin with "masks.".
    """

    data: Path
    output: Path
    model: str
    minutes: float
    original: Path | None = None
    overrides: tuple[str, ...] = ()


def finetune(options: FinetuneOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    """Train, going on where a killed run stopped; the scores, as JSON values.

    Args:
        options: see there.
        tell: told what is done, and which of the original data are left out.

    Returns:
        By data set, the user's own first: frames, and for `before` and `after` `miou` and
        `per_class_iou`, None where the model does not know the classes of the data.

    Raises:
        DataError, LabelSetError: the data are not what was expected, with the file named.
        ModelError: the model can't be read, or can't be given other classes.
        TrainingError, OSError: see `begin_run` and `loop.train`; or several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError("finetune runs in one process; `train segmenter` takes several")
    if find_data_set("folder").splits(options.data) == ("all",):
        raise DataError(
            f"{options.data} has no train/ and val/: `camss-ros data import {options.data} "
            "--format png` makes such a folder of it, split by drive"
        )
    held_out = open_data("folder", options.data, "val")
    earlier = load_pretrained(options.model)
    model = earlier.config
    label_set, same = _classes(held_out.label_set, model.label_set, options)
    target = held_out.label_set if label_set is None else load_label_set(label_set)
    sources = _sources(options, model.input_size, target, tell)
    begun = options.output / "start"
    start, minutes = options.model, options.minutes
    if not same:
        start, minutes = str(begun), minutes * (1 - _MASKS_TIME)
    data = {
        "data.root": str(options.data.absolute()),
        "data.sources": [dataclasses.asdict(source) for source in sources],
        "data.label_set": label_set,
        "data.validation_every": max(1, len(held_out) // _VALIDATED),
    }
    name = options.output.absolute().name
    entries = {**data, "model.name": name, "loop.minutes": minutes, "start_from": start}
    config = _segmenter_config(model, entries, options.overrides)
    with begin_run(config, options.output):
        if not same:
            _other_classes(options, earlier, held_out.label_set, data, begun)
        train_segmenter(config, options.output)
    scores = _scores(options, held_out, sources[1:], tell)
    write_json(options.output / SCORES_FILE, scores)
    return scores


def check_overrides(model: str, overrides: Sequence[str]) -> None:
    """Tell what is wrong with `FinetuneOptions.overrides` before there are data.

    Raises:
        ModelError: the model can't be read.
        ConfigError: the override or the entry is named.
    """
    config = load_pretrained(model).config
    source = dataclasses.asdict(SourceConfig("folder", size=config.input_size))
    _segmenter_config(config, {"data.sources": [source]}, overrides)
    _masks_config({}, overrides)


def _sources(
    options: FinetuneOptions,
    size: tuple[int, int],
    target: LabelSet,
    tell: Callable[[str], None],
) -> list[SourceConfig]:
    """The own data and, where they are asked for, the original ones, of which none is validated on.

    Frames are resized to `size`, which the network sees, as they will be when it segments.
    """
    own = SourceConfig("folder", size=size)
    if options.original is None:
        return [own]
    street = load_config(SegmenterConfig, config_file("train/camss_tiny_street.yaml")).data
    original = []
    for source in street.sources:
        root = (options.original / source.root).absolute()
        if not root.is_dir():
            continue
        try:
            open_data(source.name, root, source.split).label_set.candidates_in(target)
        except NoMappingError as error:
            tell(f"{source.root} is left out: {error}")
            continue
        original.append(dataclasses.replace(source, root=str(root), validation_split=None))
    if not original:
        folders = ", ".join(source.root for source in street.sources)
        raise DataError(
            f"{options.original}: none of {folders} (docs/datasets.md) is there, with labels that "
            f"can be mapped onto those of {options.data}"
        )
    total = sum(source.share for source in original)
    return [
        dataclasses.replace(own, share=1 - _ORIGINAL_SHARE),
        *(dataclasses.replace(it, share=_ORIGINAL_SHARE * it.share / total) for it in original),
    ]


def _classes(
    own: LabelSet, model: Sequence[LabelClass], options: FinetuneOptions
) -> tuple[str | None, bool]:
    """Name of the label set to train in, None for the own one, and whether its classes are those of
    the model."""
    names = [label_class.name for label_class in model]
    if {label_class.name for label_class in own.classes} != set(names):
        return None, False
    known = label_set_of(model, "")
    if known.name:
        return known.name, True
    if [label_class.name for label_class in own.classes] != names:
        raise LabelSetError(
            f"label set {options.data / 'label_set.yaml'} has the classes of {options.model} in "
            f"another order: expected {', '.join(names)}"
        )
    return None, True


def _other_classes(
    options: FinetuneOptions, earlier: CamSeg, own: LabelSet, data: dict[str, Any], begun: Path
) -> None:
    """Train a mask autoencoder of the own classes, and write the model to begin with, which has it,
    to `begun`."""
    masks = options.output / "masks"
    origins = class_origins(own, label_set_of(earlier.config.label_set, earlier.config.name))
    other = with_other_classes(earlier, own.classes, origins)
    height, width = _window(earlier.config.input_size)
    entries = {
        **data,
        "model": dataclasses.asdict(other.config.mask_autoencoder),
        "augmentation.size": [min(176, height), min(176, width)],
        "loop.steps": 600,
        "loop.minutes": options.minutes * _MASKS_TIME,
        "loop.learning_rate": 1e-3,
        "loop.evaluate_every": 150,
        "start_from": str(masks / "start"),
    }
    config = _masks_config(entries, options.overrides)
    if (masks / CHECKPOINT).exists() and not _is_same(load_pretrained(masks / "start"), other):
        raise TrainingError(
            f"{options.output} holds a run that began from another model than {options.model}, or "
            "with other classes: give another --output, or remove this one to start anew"
        )
    with begin_run(config, masks):
        if (options.output / CHECKPOINT).exists():
            return  # with more minutes the masks would move, and the run with them
        save_pretrained(other, masks / "start")
        train_autoencoder(config, masks)
    assert isinstance(other.mask_autoencoder, MaskAutoencoder)
    state = torch.load(masks / "last" / AUTOENCODER_FILE, map_location="cpu", weights_only=True)
    other.mask_autoencoder.load_state_dict(state)
    save_pretrained(other, begun)


def _is_same(start: CamSeg, other: CamSeg) -> bool:
    """Whether class names and weights are, but for those of the masks, which are computed."""
    names, expected = ([one.name for one in it.config.label_set] for it in (start, other))
    state = start.state_dict()
    return names == expected and all(
        name.startswith(AUTOENCODER) or (name in state and torch.equal(value, state[name]))
        for name, value in other.state_dict().items()
    )


def _segmenter_config(
    model: CamSegConfig, entries: dict[str, Any], overrides: Sequence[str]
) -> SegmenterConfig:
    """For a model of that size, with the data's classes."""
    given = {
        "model": {**dataclasses.asdict(model), "label_set": []},
        "augmentation.size": _window(model.input_size),
        **entries,
    }
    own = [each for each in overrides if not each.startswith(_MASKS)]
    return _config(SegmenterConfig, "finetune", given, own)


def _masks_config(entries: dict[str, Any], overrides: Sequence[str]) -> AutoencoderConfig:
    own = [each.removeprefix(_MASKS) for each in overrides if each.startswith(_MASKS)]
    return _config(AutoencoderConfig, "camss_tiny_autoencoder", entries, own)


def _config(
    kind: type[Config], name: str, entries: dict[str, Any], overrides: Sequence[str]
) -> Config:
    given = [override(entry, value) for entry, value in entries.items()]
    return load_config(kind, config_file(f"train/{name}.yaml"), [*given, *overrides])


def _window(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the windows to train on: most of what the network sees."""
    height, width = size
    return 16 * max(1, round(0.85 * height / 16)), 16 * max(1, round(0.75 * width / 16))


def _scores(
    options: FinetuneOptions,
    held_out: LabeledImages,
    original: Sequence[SourceConfig],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """What the model to begin with and the best one score; see `finetune`."""
    frames = {"own": held_out}
    for source in original:
        try:
            frames[Path(source.root).name] = open_data(source.name, source.root, "val")
        except DataError:  # a training split alone
            continue
    scores: dict[str, Any] = {name: {} for name in frames}
    for when, model in (("before", options.model), ("after", options.output / "best")):
        segmenter = Segmenter(model)
        for name, images in frames.items():
            tell(f"scoring {name}, {when}")
            every = every_nth(images, max(1, len(images) // _SCORED))
            scores[name]["frames"] = len(every)
            scores[name][when] = _score(segmenter, every, images.label_set)
        segmenter.close()
    return scores


def _score(
    segmenter: Segmenter, frames: LabeledFrames, label_set: LabelSet
) -> dict[str, Any] | None:
    try:
        class_table(segmenter.classes, segmenter.model_name, label_set)
    except ValueError:  # the model does not know these classes
        return None
    report = evaluate(segmenter, frames, label_set).accumulator.report(label_set.classes)
    return {key: report[key] for key in ("miou", "per_class_iou")}
