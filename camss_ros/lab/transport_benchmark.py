"""What the Fast DDS profile for large images gains on this machine, as Markdown.

`video_publisher` sends raw images, best effort as a camera does, to a subscriber in another
process; both use `config/dds/fastdds_large_images.xml`, or neither does, in turns.

    python -m camss_ros.lab.transport_benchmark
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.progress import track
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from camss_ros.evaluation.statistics import mean_rate
from camss_ros.lab.frames import write_street
from camss_ros.lab.node_speed import SIZES
from camss_ros.lab.study_output import markdown_table
from camss_ros.nodes.harness.child_process import (
    ChildFailedError,
    isolate,
    large_images,
    start_still_camera,
)
from camss_ros.nodes.messages import nanoseconds
from camss_ros.nodes.qos import LATCHED_HISTORY, PROFILES

RATES = (10.0, 30.0)  # Hz
SECONDS = 5.0  # of images in each trial
TURNS = 2
_PICTURES = 2  # sent round and round
_DRAIN_TIME = 1.0  # s from the end of the publisher until nothing more arrives


@dataclass(frozen=True)
class TransportTrial:
    """`sent`: stamps of all images, ns. `latencies`: s from the stamp to the subscriber's callback,
    of each image that arrived."""

    sent: tuple[int, ...]
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Hz at which the publisher really sent."""
        return mean_rate(self.sent) or 0.0


def send(
    folder: Path, rate: float, count: int, environment: Mapping[str, str], with_profile: bool
) -> TransportTrial:
    """Send `count` images of a folder at `rate` Hz from one new process to another.

    `environment`: of `isolate`. Raises ChildFailedError where the publisher fails.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as subscriber:
        return subscriber.submit(_receive, folder, rate, count, environment, with_profile).result()


def _receive(
    folder: Path, rate: float, count: int, environment: Mapping[str, str], with_profile: bool
) -> TransportTrial:
    os.environ.update(environment)
    if not with_profile:
        for variable in large_images():
            del os.environ[variable]
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    sent: list[int] = []
    latencies: list[float] = []

    def on_image(message: Image) -> None:
        now = node.get_clock().now().nanoseconds
        latencies.append((now - nanoseconds(message.header.stamp)) / 1e9)

    def on_source_frame(message: Header) -> None:
        sent.append(nanoseconds(message.stamp))

    node = rclpy.create_node("transport_benchmark")
    executor = SingleThreadedExecutor()
    try:
        node.create_subscription(Image, "image", on_image, PROFILES["sensor_data"])
        node.create_subscription(Header, "source_frame", on_source_frame, LATCHED_HISTORY)
        executor.add_node(node)
        log = folder.with_suffix(".log")
        with start_still_camera(folder, rate, count, {}, log) as publisher:
            while publisher.running:
                executor.spin_once(timeout_sec=0.1)
            publisher.check()
        end = time.monotonic() + _DRAIN_TIME
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        return TransportTrial(tuple(sent), tuple(latencies))
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()


def row(
    size: tuple[int, int], rate: float, with_profile: bool, trials: Sequence[TransportTrial]
) -> list[str]:
    """A row of the table; all trials together."""
    latencies = [1e3 * latency for trial in trials for latency in trial.latencies]
    sent = sum(len(trial.sent) for trial in trials)
    p50, p95 = (f"{np.percentile(latencies, p):.1f}" if latencies else "" for p in (50, 95))
    return [
        f"{size[1]} x {size[0]}",
        f"{rate:g} Hz",
        "with" if with_profile else "without",
        f"{np.mean([trial.rate for trial in trials]):.1f} Hz",
        f"{100 * len(latencies) / sent:.1f} % of {sent}",
        p50,
        p95,
    ]


def main() -> int:
    """Measure and print; returns the exit code."""
    # Torch among them, which the subscriber's processes do not need.
    import torch

    from camss_ros.lab.machine import describe_machine, load_average

    environment = isolate()
    trials: dict[tuple[tuple[int, int], float, bool], list[TransportTrial]] = {}
    load = load_average()
    with TemporaryDirectory(prefix="camss_ros-") as name:
        for size in SIZES:
            write_street(Path(name) / f"{size[1]}x{size[0]}", size, _PICTURES)
        runs = [*product(SIZES, RATES, range(TURNS), (False, True))]
        console = Console(stderr=True)
        for size, rate, _, with_profile in track(runs, "sending images", console=console):
            folder = Path(name) / f"{size[1]}x{size[0]}"
            try:
                trial = send(folder, rate, round(SECONDS * rate), environment, with_profile)
            except ChildFailedError as error:
                print(error, file=sys.stderr)
                return 1
            trials.setdefault((size, rate, with_profile), []).append(trial)
    machine = describe_machine(torch.device("cpu"))
    print(
        f"{machine['processor']}, {machine['cpus']} CPUs, "
        f"{rclpy.get_rmw_implementation_identifier()}; "
        f"load average {load} before and {load_average()} after; {TURNS} turns of {SECONDS:g} s:\n"
    )
    header = ["images", "rate", "profile", "sent at", "arrived", "latency p50, ms", "p95, ms"]
    rows = [row(*setting, of_setting) for setting, of_setting in trials.items()]
    print(markdown_table(header, rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
