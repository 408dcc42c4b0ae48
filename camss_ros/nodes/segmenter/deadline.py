"""The parameter latency_budget_ms: the setting of each frame, and what is logged about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camss_ros.inference.latency_budget import LatencyBudget, Setting
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.schedule import SamplingOptions
    from camss_ros.nodes.segmenter.parameters import ParameterValues


class Deadline:
    """Chooses within the budget among the settings for which nothing has to be built.

    `tell(text)` is called where the setting changes, `warn(text)` once when even the least one is
    over the budget, and again only after that was otherwise. `reset` may be called by any thread,
    between two frames.
    """

    def __init__(
        self,
        parameters: ParameterValues,
        tell: Callable[[str], object],
        warn: Callable[[str], object],
    ) -> None:
        self._parameters, self._tell, self._warn = parameters, tell, warn
        self._warned = False
        self.reset()

    def reset(self) -> None:
        """Forget the times of earlier frames: another model may be faster or slower."""
        self._controller: LatencyBudget | None = None
        self._chosen: Setting | None = None

    @property
    def budget(self) -> float:
        """Seconds from the arrival of an image to the publication of its mask; 0: none."""
        return float(self._parameters["latency_budget_ms"]) / 1e3

    @property
    def asked(self) -> SamplingOptions:
        """The sampling that the parameters ask for."""
        return self._parameters.sampling()

    @property
    def exhausted(self) -> bool:
        """Even the least setting is over the budget."""
        controller = self._controller
        return controller is not None and controller.exhausted

    def prepare(self, segmenter: Segmenter) -> None:
        """Build what the settings need, if there is a budget.

        Raises:
            ExportError, RuntimeError: as of `Segmenter.prepare`.
        """
        if self.budget:
            for setting in self._settings(segmenter):
                if not segmenter.is_prepared(setting.sampling, setting.size):
                    segmenter.prepare(setting.sampling, setting.size)

    def choose(self, segmenter: Segmenter) -> Setting:
        """Sampling and network size of the next frame."""
        from camss_ros.inference.latency_budget import LatencyBudget, Setting  # imports torch

        budget = self.budget
        if not budget:
            self.reset()
            return Setting(self.asked, segmenter.input_size)
        controller = self._controller = self._controller or LatencyBudget()
        settings = self._settings(segmenter)
        ready = [each for each in settings if segmenter.is_prepared(each.sampling, each.size)]
        setting = controller.choose(budget, ready or settings[:1])
        if self._chosen not in (None, setting):
            self._tell(f"for the latency budget of {budget * 1e3:g} ms: {setting}")
        self._chosen = setting
        return setting

    def observe(self, seconds: float, timings: Mapping[str, float]) -> None:
        """A frame took so long, its stages `timings`."""
        controller, chosen = self._controller, self._chosen
        if controller is None:
            return
        controller.observe(seconds, timings)
        if controller.exhausted and not self._warned:
            self._warn(
                f"the latency budget of {self.budget * 1e3:g} ms is missed with the least setting "
                f"too ({chosen}): allow more, or use a faster backend or model"
            )
        self._warned = controller.exhausted

    def _settings(self, segmenter: Segmenter) -> tuple[Setting, ...]:
        from camss_ros.inference.latency_budget import reduced_settings

        smaller = self._parameters["allow_smaller_size"] and segmenter.can_resize
        return reduced_settings(self.asked, segmenter.input_size, smaller)
