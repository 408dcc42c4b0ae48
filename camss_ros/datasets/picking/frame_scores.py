"""How unsure a network is of a frame, and what it sees in it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from camss_ros.inference.segmenter import FrameRequest, Segmenter


@dataclass(frozen=True)
class FrameScore:
    """Of one frame.

    Attributes:
        entropy: mean over the pixels of the entropy over the classes, as a share of the largest.
        disagreement: share of the pixels of a random sample with another class than the mode.
        flicker: share of the pixels with another class than in the frame before, without motion
            compensation; None without such a frame.
        tokens: float32 [C], the image tokens averaged over their places.
    """

    entropy: float
    disagreement: float
    flicker: float | None
    tokens: np.ndarray


class FrameScorer:
    """Scores frames by a segmenter, at the size of its network.

    The same frame gets the same scores; a frame takes the network two times, one with a frame
    before it three times.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._drawn = dataclasses.replace(segmenter.sampling, temperature=1.0, samples=1)

    def __call__(self, image: np.ndarray, before: np.ndarray | None) -> FrameScore:
        """Score uint8 [H, W, 3] RGB; `before`: the frame before it in the drive."""
        size = self._segmenter.input_size
        frames = [FrameRequest(image, size, uncertainty=True)]
        if before is not None:
            frames.append(FrameRequest(before, size, stream=1))
        found = self._segmenter.segment_batch(frames)
        drawn = self._segmenter.segment_batch([FrameRequest(image, size, sampling=self._drawn)])[0]
        labels, uncertainty = found[0].labels, found[0].uncertainty
        assert uncertainty is not None  # asked for
        return FrameScore(
            float(uncertainty.mean()) / 255,
            float((drawn.labels != labels).mean()),
            float((found[1].labels != labels).mean()) if before is not None else None,
            self._segmenter.pooled_tokens(image),
        )
