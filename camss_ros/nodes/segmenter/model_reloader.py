"""The model in use, and how another one takes its place between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from camss_ros.images.label_mapping import LabelMapping, map_classes

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.nodes.segmenter.parameters import ParameterValues

_CANCEL_POLL = 0.05  # s


class SupersededError(RuntimeError):
    """The model that was being loaded is not wanted any more."""


def published_label_set(label_set: str, mask_format: str) -> str:
    """Name of the label set that masks are in, by the parameters of these names; empty for the
    model's own."""
    return label_set or ("autoware16" if mask_format == "autoware_rle" else "")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A segmenter, and its classes as they are published. They change together.

    Attributes:
        parameters: those that it was loaded with.
        busy: held while a frame is in work, and while it is replaced or closed.
    """

    segmenter: Segmenter
    mapping: LabelMapping
    parameters: ParameterValues
    busy: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(
        cls,
        factory: Callable[[ParameterValues], Segmenter],
        parameters: ParameterValues,
        prepare: Callable[[Segmenter, ParameterValues], None],
    ) -> LoadedModel:
        """A model that `prepare` has made ready for frames.

        Raises:
            LabelSetError: there is no mapping onto the parameter `label_set`.
            Exception: whatever `factory` and `prepare` raise; nothing stays loaded then.
        """
        segmenter = factory(parameters)
        label_set = published_label_set(parameters["label_set"], parameters["mask_format"])
        try:
            mapping = map_classes(segmenter.classes, segmenter.model_name, label_set)
            prepare(segmenter, parameters)
        except BaseException:
            segmenter.close()
            raise
        return cls(segmenter, mapping, parameters)

    def close(self) -> None:
        """Free it, now or as soon as the frame in work is done; returns at once."""
        if self.busy.acquire(blocking=False):
            try:
                self.segmenter.close()
            finally:
                self.busy.release()
        else:  # a device that hangs must not block the executor
            threading.Thread(target=self._close_later, name="close model", daemon=True).start()

    def _close_later(self) -> None:
        with self.busy:
            self.segmenter.close()


class ModelReloader:
    """Holds the model in use and replaces it. Thread-safe.

    Whatever begins to load takes a ticket before; a model takes its place only while that is the
    last one. So a load that takes long comes to nothing where the node was cleaned up meanwhile,
    configured again or not, or another model was asked for.

    Attributes:
        current: the model in use, or None.
        ticket: the last one.
        lock: held for moments, while `current` changes.
    """

    def __init__(self) -> None:
        self.current: LoadedModel | None = None
        self.lock = threading.Lock()
        self.ticket = 0

    def begin(self) -> int:
        """A new ticket: what is being loaded with older ones is not wanted any more."""
        with self.lock:
            self.ticket += 1
            return self.ticket

    def replace(
        self,
        ticket: int,
        load: Callable[[], LoadedModel],
        announce: Callable[[LoadedModel], object],
    ) -> LoadedModel:
        """Load a model and put it in the place of the one in use, if any, between two frames.

        Args:
            ticket: of `begin`.
            load: makes the model.
            announce: called with the new model, before its first frame and after the last of the
                old one.

        Raises:
            SupersededError: the node was cleaned up, or another load has begun, meanwhile.
            Exception: whatever `load` raises; the model in use stays then.
        """
        loaded = load()
        between_frames: AbstractContextManager[LoadedModel | None] = nullcontext()
        try:
            if self.current is not None:
                between_frames = self.in_use(lambda: ticket != self.ticket)
            with between_frames as replaced, self.lock:
                if ticket != self.ticket:
                    raise SupersededError("it is not wanted any more")
                announce(loaded)
                self.current = loaded
        except BaseException:
            loaded.close()
            raise
        if replaced is not None:
            replaced.close()
        return loaded

    @contextmanager
    def in_use(self, cancelled: Callable[[], bool]) -> Iterator[LoadedModel]:
        """The model, for a frame: it is neither replaced nor closed meanwhile.

        Raises:
            SupersededError: there is none, or `cancelled` says true while another has it.
        """
        while True:
            model = self.current
            if model is None or cancelled():
                raise SupersededError("the model is not in use any more")
            if not model.busy.acquire(timeout=_CANCEL_POLL):
                continue
            try:
                if model is self.current:
                    yield model
                    return
            finally:
                model.busy.release()

    def release(self) -> None:
        """Have no model any more, and free the one in use; returns at once."""
        self.begin()
        with self.lock:
            model, self.current = self.current, None
        if model is not None:
            model.close()
