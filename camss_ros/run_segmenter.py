"""The program `segmenter`: the node, and what it needs of the desk, each imported when it is used.

`ros2 run camss_ros segmenter`; `python -m camss_ros.run_segmenter` in a checkout.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from camss_ros.inference.graphs.cache import discard_unfinished
from camss_ros.nodes.process import run_until_signal
from camss_ros.nodes.segmenter.node import SegmenterNode

if TYPE_CHECKING:
    import numpy as np

    from camss_ros.inference.segmenter import Segmentation, Segmenter
    from camss_ros.nodes.segmenter.parameters import ParameterValues


def load_segmenter(parameters: ParameterValues) -> Segmenter:
    """The segmenter that the parameters describe; int8 is calibrated on the street by default.

    Raises what `SegmenterSpec.open` raises.
    """
    from camss_ros.street.calibration_scenes import CalibrationScenes

    # `auto` is measured in the background
    return parameters.segmenter_spec().open(CalibrationScenes(), measure=False)


def check_guard(file: str, segmenter: Segmenter) -> None:
    """Raise GuardError where the segmenter falls below what the guard's file asks for."""
    from camss_ros.evaluation import guard

    guard.check_guard(file, _EachAlone(segmenter))


class _EachAlone:
    """Segments frames that do not follow each other, whatever the parameters say of a clip."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.classes, self.model_name = segmenter.classes, segmenter.model_name

    def segment(self, image: np.ndarray) -> Segmentation:
        self._segmenter.forget_last_frames()
        return self._segmenter.segment(image)


def main(arguments: list[str] | None = None) -> int:
    """The program; see `run_until_signal`."""
    make_node = functools.partial(
        SegmenterNode, segmenter_factory=load_segmenter, check_guard=check_guard
    )
    return run_until_signal("segmenter", make_node, arguments, discard_unfinished)


if __name__ == "__main__":
    sys.exit(main())
