"""Segmenters that share the processors: more frames a second of a file, each of them later."""

from __future__ import annotations

import queue

import numpy as np
import torch

from camss_ros.inference.graphs.calibration import CalibrationFrames
from camss_ros.inference.segmenter import Segmentation, Segmenter
from camss_ros.inference.spec import SegmenterSpec

_MOST = 4  # segmenters; each has a network of its own in memory


class SegmenterGroup:
    """Segments as one `Segmenter` of the same description, several frames at a time. Thread-safe.

    Two networks of one thread each get more done than one of two threads, whose threads wait for
    each other after every layer: a fifth more frames with OpenVINO on two cores. There is one
    segmenter with every other backend, and where a frame begins from the one before.
    While the group is open, PyTorch and OpenVINO have fewer threads for each of the process's own.

    Attributes:
        at_a_time: frames that are segmented at the same time.
        device, classes, model_name: as of `Segmenter`.

    Args:
        spec: of the segmenters.
        calibration: as of `Segmenter`.

    Raises as `SegmenterSpec.open`.
    """

    def __init__(self, spec: SegmenterSpec, calibration: CalibrationFrames | None = None) -> None:
        settled = spec.settled()
        alone = settled.keyframe_interval > 1 or settled.sampling.warm_start_time
        self._threads = torch.get_num_threads()
        several = settled.backend == "openvino" and not alone
        self.at_a_time = min(self._threads, _MOST) if several else 1
        torch.set_num_threads(self._threads // self.at_a_time)
        self._free: queue.Queue[Segmenter] = queue.Queue()
        self._all: list[Segmenter] = []
        try:
            for _ in range(self.at_a_time):
                self._all.append(settled.open(calibration))
                self._free.put(self._all[-1])
            # the first one builds what the others find, where Ctrl-C ends that at once
            if settled.backend != "torch":
                self._all[0].prepare(self._all[0].sampling, self._all[0].input_size)
        except BaseException:
            self.close()
            raise
        self.device, self.classes = self._all[0].device, self._all[0].classes
        self.model_name = self._all[0].model_name

    def segment(self, image: np.ndarray) -> Segmentation:
        """See `Segmenter.segment`; waits where all are at work."""
        segmenter = self._free.get()
        try:
            return segmenter.segment(image)
        finally:
            self._free.put(segmenter)

    def close(self) -> None:
        """Close the segmenters, and give the process its threads back."""
        for segmenter in self._all:
            segmenter.close()
        torch.set_num_threads(self._threads)
