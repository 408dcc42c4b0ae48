"""How a segmenter is opened: one description for the node, the command line and measurements."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from camss_ros.inference.auto import BackendChoice
from camss_ros.inference.backends.open_backend import backend_dtype
from camss_ros.inference.device import select_device
from camss_ros.inference.graphs.calibration import CalibrationFrames
from camss_ros.inference.network_size import checked_size
from camss_ros.inference.propagation import check_interval
from camss_ros.inference.segmenter import DEFAULT_MODEL, Segmenter
from camss_ros.model.checkpoint import CONFIG_FILE, find_model, read_config, weights_hash
from camss_ros.model.schedule import SamplingOptions
from camss_ros.seeds import check_seed


@dataclass(frozen=True)
class SegmenterSpec:
    """Which network runs, and how; the arguments of `Segmenter`, which says what they are.

    Raises:
        ValueError: a seed or an interval out of range.
    """

    model: str | Path = DEFAULT_MODEL
    sampling: SamplingOptions = SamplingOptions()
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    backend: str = "torch"
    network_size: tuple[int, int] | None = None
    keyframe_interval: int = 1

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_interval(self.keyframe_interval)

    def open(
        self,
        calibration: CalibrationFrames | None = None,
        *,
        measure: bool = True,
        captured: bool = True,
    ) -> Segmenter:
        """A segmenter like this; the arguments are as of `Segmenter`.

        Raises:
            ModelError: the model cannot be found or read.
            ValueError: an argument is out of range, or the backend is not available.
        """
        arguments = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Segmenter(**arguments, calibration=calibration, measure=measure, captured=captured)

    def check(self) -> None:
        """Raise what `open` would, as far as that shows without loading or measuring.

        Raises:
            ModelError, ValueError: as of `open`.
        """
        self._settle(measure=False)

    def describe(self) -> dict[str, Any]:
        """What results depend on, as JSON values: of the `model` and of its `sampling`.

        The network need not be loaded for it.

        Raises:
            ModelError, ValueError: as of `open`.
        """
        name, size, backend, dtype = self._settle(measure=True)
        # not where it changes nothing: results of before it was there stay comparable
        interval = self.keyframe_interval
        between = {"keyframe_interval": interval} if interval > 1 else {}
        return {
            "model": {
                "source": str(self.model),
                "name": name,
                "sha256": weights_hash(self.model),
                "backend": backend,
                "dtype": str(dtype).removeprefix("torch."),
                "network_size": list(size),
            },
            "sampling": {**dataclasses.asdict(self.sampling), "seed": self.seed, **between},
        }

    def settled(self, *, measure: bool = True) -> SegmenterSpec:
        """This with the backend and the precision that backend "auto" is here.

        Args:
            measure: where nothing has been measured, do it now; else one that may be chosen.

        Raises:
            ModelError, ValueError: as of `open`.
        """
        if self.backend != "auto":
            return self
        device, directory = select_device(self.device), find_model(self.model)
        size = checked_size(read_config(directory / CONFIG_FILE), self.network_size)
        choice = BackendChoice(directory, device, self.precision, size, self.sampling)
        chosen = choice.choose() if measure else choice.possible[0]
        return dataclasses.replace(self, backend=chosen.backend, precision=chosen.precision)

    def _settle(self, measure: bool) -> tuple[str, tuple[int, int], str, torch.dtype]:
        """Name of the model, (height, width) in the network, backend and what it computes in."""
        device = select_device(self.device)
        config = read_config(find_model(self.model) / CONFIG_FILE)
        size = checked_size(config, self.network_size)
        settled = self.settled(measure=measure)
        dtype = backend_dtype(settled.backend, device, settled.precision)
        return config.name, size, settled.backend, dtype
