"""Frames that do not move to each other, as /tf_static names them."""

from __future__ import annotations

import numpy as np

from camss_ros.projection.errors import ProjectionRejectedError


class FrameTree:
    """Transforms between frames and their parents, and so between any two of a tree.

    A leading slash of a name, as ROS 1 had, does not count.
    """

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, np.ndarray]] = {}

    def add(self, parent: str, child: str, matrix: np.ndarray) -> None:
        """Take points of `child` into `parent` by float64 [4, 4]; the newest of a child holds."""
        self._parents[child.lstrip("/")] = parent.lstrip("/"), matrix

    def between(self, target: str, source: str) -> np.ndarray:
        """float64 [4, 4] that takes points of the source frame into the target frame.

        Raises:
            ProjectionRejectedError: no chain of transforms leads from one to the other.
        """
        targets, sources = self._ancestors(target), self._ancestors(source)
        shared = next((frame for frame in sources if frame in targets), None)
        if shared is None:
            known = {*self._parents, *(parent for parent, _ in self._parents.values())}
            there = ", ".join(sorted(known)) or "none"
            raise ProjectionRejectedError(
                "transform", f"no way from {source!r} to {target!r}; frames: {there}"
            )
        matrix: np.ndarray = np.linalg.inv(targets[shared]) @ sources[shared]
        return matrix

    def _ancestors(self, frame: str) -> dict[str, np.ndarray]:
        """The frame and all above it, each with what takes points of the frame into it."""
        frame, matrix = frame.lstrip("/"), np.eye(4)
        found = {frame: matrix}
        while frame in self._parents:
            frame, up = self._parents[frame]
            if frame in found:  # a circle, which TF has not
                break
            matrix = up @ matrix
            found[frame] = matrix
        return found
