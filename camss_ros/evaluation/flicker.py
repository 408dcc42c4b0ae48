"""How steady the labels of a clip are from frame to frame."""

from __future__ import annotations

import numpy as np

from camss_ros.evaluation.metrics import check_labels
from camss_ros.images.label_class import VOID


class Flicker:
    """Counts pixels whose predicted label changes from a frame to the next although the true one
    stays.

    A pixel counts where its truth is the same class in both frames, void being none. The frames
    are compared place by place, without motion compensation.

    Attributes:
        steady: pixels whose truth stays, over all pairs of frames.
        changed: those of them whose prediction changes.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.steady = 0
        self.changed = 0
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """The next frame of the clip; both uint8 [H, W], class ids or 255 for void.

        Raises ValueError for other types, ids that are no class, and a size that is not that of
        the frame before.
        """
        check_labels(truth, predicted, self.classes)
        if self._previous is not None:
            old_truth, old_predicted = self._previous
            if truth.shape != old_truth.shape:
                raise ValueError(
                    f"a frame of the clip is {truth.shape}, the one before {old_truth.shape}: "
                    "expected frames of one size"
                )
            steady = (truth == old_truth) & (truth != VOID)
            self.steady += int(np.count_nonzero(steady))
            self.changed += int(np.count_nonzero(steady & (predicted != old_predicted)))
        self._previous = (truth, predicted)

    def rate(self) -> float:
        """Share of the steady pixels that change, 0 to 1; NaN where there are none."""
        return self.changed / self.steady if self.steady else float("nan")
