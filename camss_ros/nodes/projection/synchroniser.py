"""Messages of several topics whose stamps fit each other; the newest set wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_KEPT = 30  # messages of a topic that wait for others: a second of a depth camera
# ns that the stamps of a topic, which come in their order, go back by where the time has begun
# again: a bag that is played once more, of a second too
_BACK = 5 * 10**8


class Synchroniser:
    """Joins a message of a reference topic with the nearest of each partner.

    A set is given out once, as soon as it is complete; none follows that is older. With
    `partial`, a reference whose partners have not all come when the next one does is given out with
    those that have, so that one partner that is silent does not silence the others.

    Args:
        reference: its name.
        partners: names of the others.
        tolerance: ns that their stamps may differ by; 0: exact stamps.
        partial: see above.
    """

    def __init__(
        self, reference: str, partners: Sequence[str], tolerance: int, *, partial: bool = False
    ) -> None:
        self._reference, self._partners = reference, tuple(partners)
        self._tolerance, self._partial = tolerance, partial
        self.clear()

    def clear(self) -> None:
        """Forget all that waits."""
        self._queues: dict[str, dict[int, Any]] = {
            name: {} for name in (self._reference, *self._partners)
        }
        self._newest = dict.fromkeys(self._queues, -(2**63))
        self._last = -(2**63)

    def add(self, topic: str, stamp: int, message: Any) -> dict[str, Any] | None:
        """Add a message, `stamp` in ns. Returns the set of messages by topic that it completes."""
        if stamp < self._newest[topic] - _BACK:
            self.clear()
        self._newest[topic] = max(self._newest[topic], stamp)
        queue = self._queues[topic]
        queue[stamp] = message
        while len(queue) > _KEPT:
            del queue[min(queue)]
        newest_first = sorted(self._queues[self._reference], reverse=True)
        for reference in newest_first:
            found = self._partners_of(reference)
            if len(found) == len(self._partners):
                return self._give_out(reference, found)
        if self._partial and topic == self._reference:
            # not only the last one: a partner may take longer than the next reference
            for reference in newest_first:
                if reference < stamp and (found := self._partners_of(reference)):
                    return self._give_out(reference, found)
        return None

    def _partners_of(self, reference: int) -> dict[str, Any]:
        found = {}
        for name in self._partners:
            queue = self._queues[name]
            nearest = min(queue, key=lambda stamp: abs(stamp - reference), default=None)
            if nearest is not None and abs(nearest - reference) <= self._tolerance:
                found[name] = queue[nearest]
        return found

    def _give_out(self, reference: int, found: dict[str, Any]) -> dict[str, Any] | None:
        queue = self._queues[self._reference]
        message = queue[reference]
        for stamp in [stamp for stamp in queue if stamp <= reference]:
            del queue[stamp]
        if reference <= self._last:
            return None
        self._last = reference
        return {self._reference: message, **found}
