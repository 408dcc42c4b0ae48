"""What to do without after the device has run out of memory."""

from __future__ import annotations

_MEASURES = ("", "one sample a frame", "one sample a frame, labels at the network's size, enlarged")


class MemoryGuard:
    """Goes from one measure to the next, each of which needs less memory.

    Attributes:
        level: 0 for work as the parameters ask; 1: one sample; 2: also at the network's size.
        exhausted: the last frame failed even so.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Work as the parameters ask again."""
        self.level = 0
        self.exhausted = False

    def reduce(self) -> bool:
        """Take the next measure. False when there is none left."""
        if self.level + 1 < len(_MEASURES):
            self.level += 1
            return True
        self.exhausted = True
        return False

    def succeeded(self) -> None:
        """A frame fitted."""
        self.exhausted = False

    @property
    def measure(self) -> str:
        """What is being done without; empty at level 0."""
        return _MEASURES[self.level]
