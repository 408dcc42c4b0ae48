"""What the parameters of a projector say about the classes in its masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camss_ros.images.label_sets import load_label_set
from camss_ros.nodes.parameter_table import ParameterValues
from camss_ros.projection.depth_cloud import labels_to_publish
from camss_ros.projection.ground_classes import GroundClasses, class_ids
from camss_ros.projection.point_cloud import packed_rgb


@dataclass(frozen=True)
class Classes:
    """The classes of the masks.

    Attributes:
        colors: float32 [256], the bits of `rgb` for each label.
        kept: bool [256], the labels that `filtered_cloud` has.
        ground: what can be driven on.
    """

    colors: np.ndarray
    kept: np.ndarray
    ground: GroundClasses

    @classmethod
    def from_parameters(cls, parameters: ParameterValues) -> Classes:
        """Raises LabelSetError and ValueError for a label set or a class that there is not."""
        label_set = load_label_set(parameters["label_set"])

        def ids(name: str) -> list[int]:
            return class_ids(parameters[name], label_set, name)

        return cls(
            packed_rgb(label_set.palette()),
            labels_to_publish(ids("drop_classes"), ids("keep_classes")),
            GroundClasses(
                len(label_set.classes),
                tuple(ids("drivable_classes")),
                tuple(ids("flat_classes")),
            ),
        )
