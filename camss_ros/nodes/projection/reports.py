"""What became of the inputs of each job: counts, warnings, /diagnostics."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from camss_ros.nodes.messages import diagnostic_array, to_diagnostic_status
from camss_ros.nodes.projection.job import Job

_COUNTED = ("sets", "projected", "dropped", "failed")
_STAMPS = "their stamps do not fit each other, or do not grow"


class Reports:
    """Counts of the jobs, by name. Thread-safe."""

    def __init__(self, node: Node, warn: Callable[[str, str], None]) -> None:
        self._node, self._warn = node, warn
        self._lock = threading.Lock()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._counts: dict[str, Counter[str]] = {}
            self._reported: dict[str, Counter[str]] = {}
            self._last: dict[str, float] = {}
            self._rejected: dict[str, float] = {}
            self._begun = time.monotonic()

    def count(self, job: Job, what: str) -> None:
        """Count one of "sets", "projected", "dropped", "failed", or "rejected: REASON"."""
        with self._lock:
            self._counts.setdefault(job.name, Counter())[what] += 1
            if what == "sets":
                self._last[job.name] = time.monotonic()
            elif what.startswith("rejected"):
                self._rejected[job.name] = time.monotonic()

    def reject(self, job: Job, reason: str, text: str) -> None:
        """Count an input that cannot be used, and say so now and then."""
        self.count(job, f"rejected: {reason}")
        self._warn(f"{job.name} {reason}", f"{job.name}: {text}")

    def fail(self, job: Job, error: Exception) -> None:
        """Count a set on which the code failed, which is a mistake in it."""
        self.count(job, "failed")
        self._warn(f"{job.name} failed", f"{job.name} failed: {type(error).__name__}: {error}")

    def snapshot(self, job: Job) -> Counter[str]:
        """The counts of a job so far."""
        with self._lock:
            return Counter(self._counts.get(job.name, Counter()))

    def publish(self, state: str, jobs: Iterable[Job], limit: float, failure: str) -> None:
        """Publish a status for each job; one of the node where there is none.

        `limit`: s without a set of inputs, for WARN while the job is heard; 0: never. `failure`:
        why the node could not be configured, or empty.
        """
        statuses = [self._status(job, state, limit) for job in jobs]
        if not statuses:
            level, text = (2, failure) if failure else (0, state)
            statuses = [self._diagnostic("projection", level, text, {"state": state})]
        self._publisher.publish(diagnostic_array(self._node.get_clock().now().to_msg(), statuses))

    def _status(self, job: Job, state: str, limit: float) -> DiagnosticStatus:
        now, counts = time.monotonic(), self.snapshot(job)
        new = counts - self._reported.get(job.name, Counter())
        self._reported[job.name] = counts
        is_heard = job.outputs.is_heard()
        if not is_heard:  # nothing is made of the inputs
            self._last[job.name] = now
        last = self._last.get(job.name, self._begun)
        found = [
            f"{count} inputs {what.replace(':', ' for their')}"
            for what, count in sorted(new.items())
            if what == "failed" or what.startswith("rejected")
        ]
        if state == "active" and is_heard and 0 < limit <= now - last:
            silent = [topic for source in job.sources for topic in source.silent_topics(last)]
            text = f"no complete set of inputs for {now - last:.1f} s"
            # what is rejected is in no set, and has been said
            if silent or self._rejected.get(job.name, -math.inf) < last:
                text += f": nothing comes on {', '.join(silent)}" if silent else f": {_STAMPS}"
                self._warn(f"{job.name} inputs", f"{job.name}: {text}")
            found.append(text)
        values = {
            "state": state,
            "heard": is_heard,
            **{what: counts[what] for what in _COUNTED},
            **{what: n for what, n in sorted(counts.items()) if what not in _COUNTED},
        }
        return self._diagnostic(job.name, int(bool(found)), "; ".join(found) or state, values)

    def _diagnostic(
        self, name: str, level: int, message: str, values: dict[str, object]
    ) -> DiagnosticStatus:
        full_name = f"{self._node.get_fully_qualified_name()}: {name}"
        return to_diagnostic_status(full_name, level, message, values)
