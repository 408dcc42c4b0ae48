"""Time per stage of a frame without waiting for the GPU inside it."""

import time
from typing import Any

import torch


class StageClock:
    """Marks the end of each stage of one frame, or of a batch; a stage may end several times.

    On a GPU it records CUDA events, on the stream that the work of the device goes to; only
    `seconds` waits, for the last of them, so that timing adds no synchronisation within the frame.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._names: list[str] = []
        self._marks: list[Any] = [self._now()]  # s, or torch.cuda.Event

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def mark(self, name: str) -> None:
        """The stage `name` ends here."""
        self._names.append(name)
        self._marks.append(self._now())

    def seconds(self) -> dict[str, float]:
        """Duration of every stage, and "total"; on a GPU, waits until the last mark is passed."""
        first, last = self._marks[0], self._marks[-1]
        if self._device.type == "cuda":
            # cudaEventElapsedTime fails with cudaErrorNotReady on an event not yet passed, and the
            # last mark comes after the download that the host has waited for
            last.synchronize()
            edges = [first.elapsed_time(mark) / 1000.0 for mark in self._marks]
        else:
            edges = [mark - first for mark in self._marks]
        stages = dict.fromkeys(self._names, 0.0)
        for name, start, end in zip(self._names, edges[:-1], edges[1:], strict=True):
            stages[name] += end - start
        return {**stages, "total": edges[-1]}
