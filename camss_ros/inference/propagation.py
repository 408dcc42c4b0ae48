"""Between key frames: the labels of the frame before, carried along by the optical flow.

The network runs on every n-th frame of a clip; after Deep Feature Flow (Zhu et al., CVPR 2017),
which carries features and decodes them again, where the labels are carried here. On CamVid val
(15 Hz, a moving car) every second frame by flow costs 0.3 points of mIoU (docs/speed.md).
"""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from camss_ros.inference.temporal_state import TemporalState

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import FrameRequest, Segmentation

_FLOW_AREA = 320 * 240  # pixels of the grey images whose flow is computed; more costs time
_LEAST_SIDE = 32  # of them; OpenCV computes no flow of a few pixels


class _Last(NamedTuple):
    """A frame that is done: its grey image, its result, and how many frames the key frame is
    back."""

    grey: np.ndarray
    result: Segmentation
    age: int

    @classmethod
    def of(cls, grey: np.ndarray, result: Segmentation, age: int) -> _Last:
        """With a copy of the result, whose arrays are the caller's to draw on."""
        return cls(grey, copy.deepcopy(result), age)


class LabelPropagation:
    """Carries results from frame to frame of each stream, between the key frames.

    A frame is a key frame, too, where it does not continue the one before; `TemporalState` says
    when that is. Streams that begin together take turns: each has its second key frame one frame
    earlier than the stream before it.

    Args:
        interval: every so many frames one is a key frame, at least 1: all are.

    Raises:
        ValueError: another interval.
    """

    def __init__(self, interval: int) -> None:
        self.interval = check_interval(interval)
        self._streams: defaultdict[Hashable, TemporalState[_Last]]
        self._streams = defaultdict(TemporalState)
        self._turns: dict[Hashable, int] = {}  # place of each stream among them
        self._ages: dict[Hashable, int] = {}  # of the key frame that each stream has next
        preset = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
        self._flow = cv2.DISOpticalFlow_create(preset)  # type: ignore[attr-defined]

    def carry(self, request: FrameRequest, kind: Hashable) -> Segmentation | None:
        """The result of a frame, made of that of the frame before; None for a key frame, whose
        result is for `keep`.

        What comes into view from outside the image has the label of the border, with confidence 0
        and uncertainty 255.

        Args:
            kind: what must be the same of two frames for the result of one to fit the other.
        """
        if self.interval == 1:
            return None
        start = time.perf_counter()
        stream = self._streams[request.stream]
        wanted = kind, request.size, request.uncertainty
        last = stream.begin(request.image, request.stamp, wanted)
        if last is None:  # it begins anew, in its turn
            turn = self._turns.setdefault(request.stream, len(self._turns))
            self._ages[request.stream] = turn % self.interval
            return None
        if last.age + 1 >= self.interval:
            self._ages[request.stream] = 0
            return None
        grey = _grey(request.image)
        moved = _moved(last.result, self._flow.calc(grey, last.grey, None))
        seconds = time.perf_counter() - start
        timings = {"propagation": seconds, "total": seconds}
        result = replace(moved, timings=timings, propagated=True, warm=False)
        stream.keep(_Last.of(grey, result, last.age + 1))
        return result

    def keep(self, request: FrameRequest, result: Segmentation) -> None:
        """Keep the result of a key frame, the last for which `carry` of its stream had none."""
        if self.interval > 1:
            age = self._ages[request.stream]
            self._streams[request.stream].keep(_Last.of(_grey(request.image), result, age))

    def forget(self) -> None:
        """The next frame of each stream is a key frame."""
        self._streams.clear()
        self._turns.clear()


def check_interval(interval: int) -> int:
    """The interval between key frames; raises ValueError where it is below 1."""
    if interval < 1:
        raise ValueError(f"keyframe_interval must be at least 1, not {interval}")
    return interval


def _grey(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] RGB -> uint8 [h, w] of `_FLOW_AREA` in its proportions."""
    height, width = image.shape[:2]
    scale = math.sqrt(_FLOW_AREA / (height * width))
    size = [max(_LEAST_SIDE, round(scale * side)) for side in (width, height)]
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def _moved(result: Segmentation, flow: np.ndarray) -> Segmentation:
    """The result of the frame before as the next one sees it.

    Args:
        flow: float32 [h, w, 2], (x, y) from a pixel to where it was in the frame before.
    """
    height, width = result.labels.shape
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    # the flow and not the places, which would stay half a pixel of it away from the border
    places: np.ndarray = cv2.resize(flow * scale, (width, height))
    places[..., 0] += np.arange(width, dtype=np.float32)
    places[..., 1] += np.arange(height, dtype=np.float32)[:, None]

    def moved(pixels: np.ndarray, border: int, outside: int = 0) -> np.ndarray:
        nearest = cv2.INTER_NEAREST
        return cv2.remap(  # type: ignore[call-overload, no-any-return]
            pixels, places, None, nearest, borderMode=border, borderValue=outside
        )

    return replace(
        result,
        labels=moved(result.labels, cv2.BORDER_REPLICATE),
        confidence=moved(result.confidence, cv2.BORDER_CONSTANT),
        uncertainty=None
        if result.uncertainty is None
        else moved(result.uncertainty, cv2.BORDER_CONSTANT, 255),
    )
