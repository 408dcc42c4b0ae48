"""A camera to measure with: `video_publisher` as a process that sends a folder of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camss_ros.nodes.harness.child_process import ChildProcess


def start_still_camera(
    folder: Path, rate: float, count: int, environment: Mapping[str, str], log: Path
) -> ChildProcess:
    """Send `count` images of a folder, round and round from memory, once somebody listens.

    Args:
        rate: Hz.
        environment: of the process, beside that of this one.
        log: file for its output.
    """
    parameters: dict[str, str | int | float | bool] = {
        "path": str(folder), "rate": float(rate), "frames": count, "loop": True, "preload": True,
        "wait_for_subscriber": True,
    }  # fmt: skip
    return ChildProcess("camss_ros.nodes.harness.video_publisher", parameters, environment, log)
