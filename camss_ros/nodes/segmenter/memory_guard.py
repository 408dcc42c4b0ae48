"""What to do without after the device has run out of memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camss_ros.inference.latency_budget import Setting

_MEASURES = (
    "",
    "one camera at a time",
    "one sample a frame",
    "one sample a frame, labels at the network's size, enlarged",
)


class MemoryGuard:
    """Goes from one measure to the next, each of which needs less memory.

    Attributes:
        level: 0 for work as the parameters ask; 1: frames are not batched; 2: also one sample;
            3: also at the network's size.
        exhausted: the last frame failed even so.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Work as the parameters ask again."""
        self.level = 0
        self.exhausted = False

    def reduce(self, frames: int = 1) -> bool:
        """Take the next measure after `frames` together did not fit. False when none is left."""
        if self.level + 1 < len(_MEASURES):
            # one frame cannot be split
            self.level = max(self.level + 1, 1 if frames > 1 else 2)
            return True
        self.exhausted = True
        return False

    def succeeded(self) -> None:
        """A frame fitted."""
        self.exhausted = False

    def limit(self, setting: Setting) -> Setting:
        """The setting with one sample, where there is no memory for more."""
        if not self.one_sample:
            return setting
        return replace(setting, sampling=replace(setting.sampling, samples=1))

    @property
    def one_frame(self) -> bool:
        """Whether frames are segmented one by one."""
        return self.level >= 1

    @property
    def one_sample(self) -> bool:
        """Whether one sample is drawn, whatever the parameters say."""
        return self.level >= 2

    @property
    def at_network_size(self) -> bool:
        """Whether labels are made at the network's size."""
        return self.level >= 3

    @property
    def measure(self) -> str:
        """What is being done without; empty at level 0."""
        return _MEASURES[self.level]
