"""Backend "auto" in the node: measured while PyTorch segments, then the fastest takes its place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader, SupersededError

if TYPE_CHECKING:
    from camss_ros.inference.beside import Beside


class BackendMeasurement:
    """Measures the backends for the model in use, in a process of its own, in the background.

    Frames are segmented meanwhile; each that is timed waits for its turn between two of them.
    `load(model)` loads a model again, as it is configured, `take_over(model)` is called between two
    frames when one with another backend takes its place, and `ended()` where the first one stays.
    """

    def __init__(
        self,
        models: ModelReloader,
        load: Callable[[LoadedModel], LoadedModel],
        take_over: Callable[[LoadedModel], object],
        ended: Callable[[], object],
        log: Any,
    ) -> None:
        self._models, self._load, self._take_over = models, load, take_over
        self._ended, self._log = ended, log
        self._process: Beside | None = None

    @property
    def running(self) -> bool:
        """Whether there is one."""
        return self._process is not None

    def start(self) -> None:
        """Measure, if that is left to do for the model in use."""
        model = self._models.current
        if model is None or model.segmenter.unmeasured is None or self.running:
            return
        try:
            process = self._process = model.segmenter.unmeasured.beside()
        except OSError as error:
            self._log.warning(f"backend auto: {model.segmenter.backend} stays: {error}")
            return
        threading.Thread(
            target=self._run,
            args=[model, process, self._models.ticket],
            name="measure backends",
            daemon=True,
        ).start()

    def stop(self) -> None:
        """Give up; returns at once."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _run(self, model: LoadedModel, process: Beside, ticket: int) -> None:
        segmenter = model.segmenter
        assert segmenter.unmeasured is not None

        def stopped() -> bool:
            return self._process is not process

        def take_over(loaded: LoadedModel) -> None:
            if stopped():
                raise SupersededError("the measurement was given up")
            self._take_over(loaded)

        try:
            chosen = segmenter.unmeasured.measured_beside(
                process, lambda: self._models.in_use(stopped)
            )
            if stopped():
                return
            if chosen == segmenter.unmeasured.possible[0]:
                segmenter.unmeasured = None
                self._log.info(f"backend {segmenter.backend} is the fastest here, and stays")
                self._ended()
                return
            self._log.info(f"loading the model for backend {chosen}, which is the fastest here")
            self._models.replace(ticket, lambda: self._load(model), take_over)
        except SupersededError:
            pass
        except Exception as error:  # whatever it is, the first one does
            if not stopped():
                self._log.warning(f"backend auto: {segmenter.backend} stays: {error}")
                segmenter.unmeasured = None
                self._ended()
        finally:
            if not stopped():
                self._process = None
