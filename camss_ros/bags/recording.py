"""What a run over DDS left behind, as plain data."""

from __future__ import annotations

import zlib
from dataclasses import astuple, dataclass, field

import numpy as np


@dataclass(frozen=True)
class SentFrame:
    """A frame that was published: `stamp` of its message in ns, its `name` in the source."""

    stamp: int
    name: str


class ReceivedMask:
    """A label image that arrived: `labels` uint8 [H, W]; `arrival` in ns, on the stamps' clock.

    Kept compressed: the masks of a long video would not fit into memory.
    """

    def __init__(self, labels: np.ndarray, arrival: int) -> None:
        self.arrival = arrival
        self._shape = labels.shape
        self._content = zlib.compress(labels.tobytes(), 1)

    @property
    def labels(self) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self._content), np.uint8).reshape(self._shape)


@dataclass(frozen=True)
class Counts:
    """What became of the images that reached the segmenter, as it counts them."""

    received: int = 0
    segmented: int = 0
    dropped: int = 0
    rejected: int = 0
    failed: int = 0

    def __sub__(self, before: Counts) -> Counts:
        """What became of the images since `before`."""
        return Counts(*np.subtract(astuple(self), astuple(before)).tolist())

    @property
    def in_work(self) -> int:
        """Images that wait or are being segmented."""
        return self.received - self.segmented - self.dropped - self.rejected - self.failed


@dataclass
class Recording:
    """A run.

    Attributes:
        sent: every frame, in order.
        masks: by stamp in ns.
        timings: seconds of each stage, by the stamp of the frame.
        model, device, sampling: what the segmenter said it used.
    """

    sent: list[SentFrame] = field(default_factory=list)
    masks: dict[int, ReceivedMask] = field(default_factory=dict)
    timings: dict[int, dict[str, float]] = field(default_factory=dict)
    counts: Counts = Counts()
    model: str = ""
    device: str = ""
    sampling: dict[str, int | str] = field(default_factory=dict)
