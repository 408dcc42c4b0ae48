"""What became of the images: counters, and their diagnostic_msgs form."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, get_args

from diagnostic_msgs.msg import DiagnosticStatus

from camss_ros.nodes.messages import to_diagnostic_status

# Key of the fact whether backend `auto` is still being measured: frames are slower meanwhile.
MEASURING = "measuring backends"
# Key of the number of the node's process, which tells it from others of its name.
PROCESS = "process"

Counted = Literal["received", "segmented", "dropped", "failed"]
COUNTED: tuple[Counted, ...] = get_args(Counted)


@dataclass(frozen=True)
class FrameCounts:
    """Images since activation, by what became of them. `rejected` is by reason."""

    received: int = 0
    segmented: int = 0
    dropped: int = 0
    failed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def unusable(self) -> int:
        """Images that were received and could not be segmented."""
        return self.rejected.total() + self.failed


class FrameCounter:
    """Counts from the executor and the inference thread. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = FrameCounts()

    def snapshot(self) -> FrameCounts:
        """The counts now; they do not change any more."""
        return self._counts

    def reset(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._counts = FrameCounts()

    def count(self, what: Counted) -> None:
        """An image arrived, its labels were published, a newer one overtook it, it failed."""
        with self._lock:
            self._counts = replace(self._counts, **{what: getattr(self._counts, what) + 1})

    def rejected(self, reason: str) -> None:
        """An image could not be read."""
        with self._lock:
            rejected = self._counts.rejected + Counter([reason])
            self._counts = replace(self._counts, rejected=rejected)


def diagnostic_status(
    name: str,
    state: str,
    counts: FrameCounts,
    found: Sequence[tuple[int, str]] = (),
    values: Mapping[str, object] = MappingProxyType({}),
    camera: str = "",
) -> DiagnosticStatus:
    """The counts as diagnostic_msgs/DiagnosticStatus.

    `name` is the node's full name, `state` what it does, `found` what is not as it should be
    (`health.assess`), `values` further values, `camera` the one of several that all this is about.
    The hardware is the camera or, without a name of it, the computer.
    """
    values = {
        "state": state,
        **{what: getattr(counts, what) for what in COUNTED},
        "rejected": counts.rejected.total(),
        **{f"rejected: {reason}": count for reason, count in sorted(counts.rejected.items())},
        **values,
    }
    return to_diagnostic_status(
        f"{name}: segmentation of {camera}" if camera else f"{name}: segmentation",
        max((level for level, _ in found), default=0),
        "; ".join(text for _, text in found) or state,
        values,
        camera,
    )
