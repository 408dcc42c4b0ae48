"""How many points of depth images or clouds get the right label.

The label of a point is that of the predicted mask at its pixel, and the true one that of the label
image there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from camss_ros.bags.bag import BagError
from camss_ros.bags.bag_frames import BagFrame, BagFrames, PartnerMessages
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.metrics import by_class, confusion_scores, json_number
from camss_ros.images.label_class import LabelClass
from camss_ros.projection.errors import ProjectionRejectedError

_SUMS = ("clouds", "clouds_without_image", "points", "seen")


PointSource = Callable[[Any, int, int], tuple[int, np.ndarray]]
"""Of a message of a topic, and height and width of an image: the number of points of the message,
and the pixels, int [N] as places in the flattened image, that those of them fall on which the image
shows. Raises ProjectionRejectedError where the message cannot be used."""


class PointScorer:
    """Counts the points of the messages of one topic. Memory does not grow with the frames.

    `partner`: the messages and the frames that they belong to; `classes`: of labels and
    predictions.
    """

    def __init__(
        self,
        source: PointSource,
        frames: BagFrames,
        partner: PartnerMessages,
        classes: Sequence[LabelClass],
    ) -> None:
        self._source, self._frames, self._partner = source, frames, partner
        self._classes = classes
        self._accumulator = ScoreAccumulator(len(classes))
        self._sums = dict.fromkeys(_SUMS, 0)
        self._sums["clouds_without_image"] = len(partner.stamps) - partner.matched

    def add(self, frame: BagFrame, predicted: np.ndarray) -> None:
        """Count the points that belong to a frame. What cannot be used is among the frames' faults.

        predicted: uint8 [H, W], class ids or 255 for void.
        """
        number = self._partner.number(frame.number)
        if number is None:
            return
        try:
            message = self._frames.bag.decode(self._partner.messages.get(number))
            points, pixels = self._source(message, *predicted.shape)
        except (BagError, ProjectionRejectedError) as error:
            stamp = int(self._partner.stamps[number])
            self._frames.faults.add(self._partner.topic.name, number, stamp, error)
            return
        self._sums["clouds"] += 1
        self._sums["points"] += points
        self._sums["seen"] += len(pixels)
        if frame.label is not None:
            truth = frame.label.reshape(-1)[pixels]
            self._accumulator.add(truth, predicted.reshape(-1)[pixels])
            self._accumulator.end_sequence()

    def results(self) -> dict[str, Any]:
        """See `point_results`."""
        confusion = self._accumulator.confusion.tolist()
        return point_results([{**self._sums, "confusion": confusion}], self._classes)


def point_results(
    parts: Sequence[Mapping[str, Any]], classes: Sequence[LabelClass]
) -> dict[str, Any]:
    """The results of several parts together, as JSON values.

    Args:
        parts: each with at least `clouds`, `clouds_without_image`, `points`, `seen`, `confusion`.

    Returns:
        clouds: clouds or depth images that were used; clouds_without_image: those with the stamp
            of no image.
        points: with a place; seen: of them, those that the image shows.
        without_label: seen points for which the bag has no label; void: others that the prediction
            calls void, which is wrong.
        right: share of the labelled points with the right label; per_class_right: of those that
            are of a class; per_class_iou, miou: intersection over union of points. null where there
            is nothing to measure.
        confusion: points by true and predicted class, void last.
    """
    sums = {name: sum(part[name] for part in parts) for name in _SUMS}
    confusion = np.sum([part["confusion"] for part in parts], axis=0)
    scores = confusion_scores(confusion)
    return {
        **sums,
        "without_label": sums["seen"] - int(confusion.sum()),
        "void": int(confusion[:, -1].sum()),
        "right": json_number(scores.pixel_accuracy),
        "miou": json_number(scores.miou),
        "per_class_right": by_class(classes, scores.per_class_recall),
        "per_class_iou": by_class(classes, scores.per_class_iou),
        "confusion": confusion.tolist(),
    }
