"""The classes of a model as those of another label set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import (
    LabelSet,
    LabelSetError,
    NoMappingError,
    load_label_set,
)
from camss_ros.resources import config_directories


@dataclass(frozen=True)
class LabelMapping:
    """Published classes, and how to get there.

    Attributes:
        classes: those that are published.
        table: uint8 [256], published id of each id of the model, 255 for void; None: as it is.
    """

    classes: tuple[LabelClass, ...]
    table: np.ndarray | None = None

    def apply(self, labels: np.ndarray) -> np.ndarray:
        """uint8 [H, W] ids of the model -> published ids."""
        return labels if self.table is None else self.table[labels]


def map_classes(classes: Sequence[LabelClass], model: str, label_set: str) -> LabelMapping:
    """How the `classes` of the model named `model` become those of a label set.

    The mapping is that of the known label set with the classes of the model; in a file of your own
    it may also stand under `sources`, by the name of that set or of the model.

    Args:
        label_set: a name, the path of a YAML file, or "" for the model's own classes.

    Raises:
        LabelSetError: no such set, or no mapping onto it.
    """
    if not label_set:
        return LabelMapping(tuple(classes))
    target = load_label_set(label_set)
    return LabelMapping(target.classes, label_set_of(classes, model).to(target))


def mapping_onto_labels(
    classes: Sequence[LabelClass], model: str, labels: LabelSet | None
) -> LabelMapping:
    """How the `classes` of the model named `model` become those of the labels that its masks are
    compared with.

    Args:
        labels: None for the model's own classes.

    Raises:
        NoMappingError: there is no mapping, or no class of the model becomes one of the labels',
            which would count as never found.
    """
    if labels is None:
        return LabelMapping(tuple(classes))
    table = label_set_of(classes, model).to(labels)
    reached = table[[label_class.id for label_class in classes]]
    if unknown := [one.name for one in labels.classes if one.id not in reached]:
        raise NoMappingError(
            f"the model does not know the classes of {labels.name}: missing in the model: "
            f"{', '.join(unknown)}; map the labels onto the model's label set"
        )
    return LabelMapping(labels.classes, table)


def label_set_of(classes: Sequence[LabelClass], model: str) -> LabelSet:
    """The known label set with the `classes` of the model named `model`, or one of its own."""
    names = [label_class.name for label_class in classes]
    for directory in config_directories():
        for path in sorted((directory / "label_sets").glob("*.yaml")):
            try:
                known = load_label_set(path)
            except LabelSetError:
                continue
            if [label_class.name for label_class in known.classes] == names:
                return known
    return LabelSet(model, tuple(classes))
