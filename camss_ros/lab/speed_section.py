"""What a section of the page about speed is, and what it is measured with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from camss_ros.evaluation.evaluate import LabelledData
from camss_ros.inference.backends.open_runtime import open_runtime
from camss_ros.inference.device import select_device
from camss_ros.inference.segmenter import Segmenter
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.lab.node_speed import NodeSettings, Parameters
from camss_ros.lab.official_procedure import STEPS
from camss_ros.street.calibration_scenes import CalibrationScenes


@dataclass(frozen=True)
class BudgetSettings:
    """How long to measure a latency budget.

    Attributes:
        pictures: that are sent, at most, evenly spread over the data.
        rounds: of all pictures, with the budget.
        highest_rate: Hz. A slower node gets fewer images, so that it loses none.
        trial_rate, trial_images: of the images that tell how slow it is.
    """

    pictures: int = 50
    rounds: int = 4
    highest_rate: float = 10.0
    trial_rate: float = 2.0
    trial_images: int = 8


@dataclass(frozen=True)
class OfflineSettings:
    """What offline commands are measured on.

    Attributes:
        frames, frame_size: so many of (height, width), in a video and in a bag.
        turns: of each command.
    """

    frames: int = 200
    frame_size: tuple[int, int] = (540, 960)
    turns: int = 3


@dataclass(frozen=True)
class SpeedSettings:
    """What is measured, and how long.

    Attributes:
        spec: of the segmenter and of the node.
        official_model: random weights of its size are compared with the official procedure, in so
            many turns at each (height, width).
        network_sizes: (height, width) beside the model's own, at the aspect ratio of the images.
        frame_size: of the steady run.
    """

    spec: SegmenterSpec = SegmenterSpec(backend="auto")
    official_model: str = "cam-seg-base"
    official_steps: int = STEPS
    official_turns: Mapping[tuple[int, int], int] = field(
        default_factory=lambda: {(256, 256): 3, (768, 768): 1}
    )
    node: NodeSettings = NodeSettings()
    budget: BudgetSettings = BudgetSettings()
    offline: OfflineSettings = OfflineSettings()
    network_sizes: Sequence[tuple[int, int]] = ((288, 384), (256, 352), (240, 320), (208, 288))
    steady_frames: int = 5000
    frame_size: tuple[int, int] = (360, 480)

    def has_int8(self) -> bool:
        """Whether int8, which is chosen by nobody but the user, is measured beside the choice."""
        if self.spec.backend not in ("auto", "openvino") or self.spec.precision != "auto":
            return False
        try:
            open_runtime("openvino", select_device(self.spec.device), "int8")
        except ValueError:  # not installed, or the machine has none
            return False
        return True

    def segmenter(self, **changed: Any) -> Segmenter:
        """Of `spec`, with some of its fields changed."""
        return replace(self.spec, **changed).open(CalibrationScenes())

    def node_parameters(self) -> Parameters:
        """Of the segmenter node."""
        from camss_ros.nodes.segmenter.parameters import node_parameters  # needs rclpy

        return node_parameters(self.spec)


@dataclass(frozen=True)
class SpeedRun:
    """What a section is measured with.

    Attributes:
        data: None where there are no labelled frames.
        others: further labelled frames, for the sections on `every_data`.
        progress: called with what is being done.
        part: called with a name and what measures that part of the section, JSON-able; returns it.
            A study that was stopped has the finished parts of a section already.
    """

    settings: SpeedSettings
    data: LabelledData | None = None
    progress: Callable[[str], None] = lambda doing: None
    others: tuple[LabelledData, ...] = ()
    part: Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]] = lambda name, measure: (
        measure()
    )

    @property
    def labelled(self) -> LabelledData:
        """The data of a section that needs some."""
        assert self.data is not None
        return self.data


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: of its numbers in the JSON file.
        title: on the page.
        wanted: what is promised.
        measure: makes the numbers, JSON-able.
        show: Markdown of the numbers.
        needs: it is left out where that is missing: "data", or data that are a "clip".
        every_data: it is about all data sets, not about the first alone.
    """

    key: str
    title: str
    wanted: str
    measure: Callable[[SpeedRun], dict[str, Any]]
    show: Callable[[dict[str, Any]], str]
    needs: Literal["", "data", "clip"] = ""
    every_data: bool = False

    def lacks(self, data: LabelledData | None) -> str:
        """What is missing to measure it; empty if nothing is."""
        if self.needs and data is None:
            return "data"
        return "clip" if self.needs == "clip" and data is not None and not data.clip else ""
