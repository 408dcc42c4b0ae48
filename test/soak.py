"""Let the node run for long, and watch its memory: `make soak`, or `make soak DURATION=180`.

The node runs in a process of its own, as users start it, with the bundled model. A camera sends
synthetic frames of 480 x 360 at 10 Hz; label images and confidence are listened to. Every 10 s the
resident set, the threads and the open files of the node are read from /proc. The soak passes when
the resident set at the end is within 2 % of that after a sixth of the time (minute 5 of 30), and
label images have come in every interval. Writes a page with settings and numbers; ends with 1
where it fails.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# Unlike others here, this is a program of its own; what it imports lies beside it.
from ros_peer import RosPeer, wait_until
from segmenter_process import Process
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from camss_ros.nodes.harness.child_process import isolate
from camss_ros.nodes.messages import to_image_message
from camss_ros.nodes.qos import LATCHED, PROFILES
from camss_ros.resident_memory import resident_bytes
from camss_ros.street.synthetic import SyntheticStreet

HEIGHT, WIDTH = 360, 480
RATE = 10.0  # Hz
FRAMES = 50  # different ones, over and over
SAMPLE_PERIOD = 10.0  # s
BASELINE = 1 / 6  # of the time
TOLERANCE = 0.02
START_TIME = 900.0  # s; after the first start the backends are measured


@dataclass(frozen=True)
class Sample:
    """The node at one time. `seconds` since the first image; `resident` in bytes; `masks` so far;
    `processor`: seconds of all cores so far."""

    seconds: float
    resident: int
    threads: int
    files: int
    masks: int
    processor: float


class Node:
    """The process under observation, and somebody who looks at it and at its label images."""

    def __init__(self, process: Process, peer: RosPeer) -> None:
        from camss_ros.msg import SegmenterStatus

        self.process, self.peer = process, peer
        self.masks = 0
        self.status: Any = None
        subscribe = peer.node.create_subscription
        subscribe(Image, "segmentation/mask", self._on_mask, 10)
        subscribe(Image, "segmentation/confidence", lambda _: None, 10)
        subscribe(SegmenterStatus, "segmentation/status", self._on_status, LATCHED)
        self.image = peer.publisher(Image, "image", PROFILES["sensor_data"])
        self.info = peer.publisher(CameraInfo, "camera_info", PROFILES["sensor_data"])

    def _on_mask(self, _: Image) -> None:
        self.masks += 1

    def _on_status(self, message: Any) -> None:
        self.status = message

    def sample(self, seconds: float) -> Sample:
        folder = Path("/proc") / str(self.process.process.pid)
        ticks = (folder / "stat").read_text().rpartition(")")[2].split()
        return Sample(
            seconds=seconds,
            resident=resident_bytes(pid=self.process.process.pid),
            threads=len(os.listdir(folder / "task")),
            files=len(os.listdir(folder / "fd")),
            masks=self.masks,
            processor=(int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"),
        )

    def send(self, pixels: Any) -> None:
        header = Header(stamp=self.peer.node.get_clock().now().to_msg(), frame_id="camera")
        self.info.publish(CameraInfo(header=header, height=HEIGHT, width=WIDTH))
        self.image.publish(to_image_message(pixels, "rgb8", header))


def watch(node: Node, duration: float) -> list[Sample]:
    """Send images for so many seconds and look every `SAMPLE_PERIOD`."""
    from rich.progress import Progress

    street = SyntheticStreet(height=HEIGHT, width=WIDTH)
    frames = [street.frame(i)[0] for i in range(FRAMES)]
    samples: list[Sample] = []
    start = time.monotonic()
    sent = 0
    with Progress() as progress:
        task = progress.add_task("soaking", total=duration)
        while (now := time.monotonic() - start) < duration:
            if node.process.process.poll() is not None:
                raise SystemExit(f"the node ended by itself:\n{node.process.log}")
            if now >= SAMPLE_PERIOD * (len(samples) + 1):
                samples.append(node.sample(now))
                progress.update(task, completed=now)
            node.send(frames[sent % FRAMES])
            # Where the machine was too busy for an image, it is left out rather than made up for.
            sent = max(sent + 1, int((time.monotonic() - start) * RATE))
            time.sleep(max(0.0, start + sent / RATE - time.monotonic()))
        samples.append(node.sample(time.monotonic() - start))
    return samples


def problems(samples: list[Sample], baseline: Sample) -> list[str]:
    """Why the soak has failed; empty where it has passed."""
    found = []
    growth = samples[-1].resident / baseline.resident - 1
    if abs(growth) > TOLERANCE:
        found.append(f"the resident set changed by {100 * growth:+.2f} %")
    for before, after in itertools.pairwise(samples):
        # The last interval may be of no length.
        if after.seconds - before.seconds > SAMPLE_PERIOD / 2 and after.masks == before.masks:
            found.append(f"no label image from {before.seconds:.0f} to {after.seconds:.0f} s")
    return found


def page(
    node: Node, samples: list[Sample], baseline: Sample, command: str, failed: list[str]
) -> str:
    """The numbers for people, in Markdown."""
    end, status = samples[-1], node.status
    growth = 100 * (end.resident / baseline.resident - 1)
    cores = (end.processor - baseline.processor) / (end.seconds - baseline.seconds)
    after = [sample for sample in samples if sample.seconds >= baseline.seconds]
    rows = [
        f"| {s.seconds:.0f} | {s.resident / 1e6:.1f} | {s.threads} | {s.files} | {s.masks} |"
        for s in shown(samples, baseline)
    ]

    def spread(name: str) -> str:
        values = sorted({getattr(sample, name) for sample in after})
        return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"

    return "\n".join(
        [
            "# Soak",
            "",
            f"The node at work for {end.seconds / 60:.1f} minutes, written by `{command}` "
            f"({datetime.now(timezone.utc):%Y-%m-%d}).",
            "",
            "| setting | |",
            "|---|---|",
            f"| images | {WIDTH} x {HEIGHT} rgb8, {RATE:g} Hz, {FRAMES} of the synthetic street |",
            f"| model | {status.model}, {status.steps} steps, {status.sampler} |",
            f"| backend | {status.backend} on {status.device} |",
            f"| machine | {platform.machine()}, {os.cpu_count()} cores, {platform.system()}; "
            "OMP_NUM_THREADS 1 for the node |",
            "| listeners | mask, confidence, status |",
            "",
            f"**{'failed: ' + '; '.join(failed) if failed else 'passed'}.** Resident set "
            f"{baseline.resident / 1e6:.1f} MB at {baseline.seconds:.0f} s, "
            f"{end.resident / 1e6:.1f} MB at {end.seconds:.0f} s: {growth:+.2f} % "
            f"(allowed: {100 * TOLERANCE:g} %). From there on {spread('threads')} threads and "
            f"{spread('files')} open files. {status.received} images received, "
            f"{status.segmented} segmented, {status.dropped} dropped for newer ones, "
            f"{status.rejected} rejected, {status.failed} failed; "
            f"{cores:.2f} cores busy.",
            "",
            f"Looked at every {SAMPLE_PERIOD:g} s; of these samples:",
            "",
            "| s | resident set (MB) | threads | open files | label images |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def shown(samples: list[Sample], baseline: Sample) -> list[Sample]:
    """At most about thirty of them, the baseline and the last among them."""
    every = max(1, len(samples) // 30)
    return [s for i, s in enumerate(samples) if i % every == 0 or s in (baseline, samples[-1])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=float, default=1800.0, help="s, at least 60")
    parser.add_argument("--output", type=Path, default=Path("docs/results/soak.md"))
    parser.add_argument("--backend", default="auto", help="of the node")
    options = parser.parse_args()
    if options.duration < 60:
        parser.error("--duration: at least 60 s")
    os.environ.update(isolate())
    domain = int(os.environ["ROS_DOMAIN_ID"])
    peer = RosPeer(domain)
    process = Process(domain, "--ros-args", "-p", f"backend:={options.backend}")
    try:
        node = Node(process, peer)
        wait_until(
            lambda: "active: segmenting" in process.log or process.process.poll() is not None,
            "the node active",
            START_TIME,
        )
        time.sleep(1.0)  # the next line of the log
        wait_until(
            lambda: "measuring the backends" not in process.log or "for a frame" in process.log,
            "the backends measured",
            START_TIME,
        )
        if process.process.poll() is not None:
            raise SystemExit(f"the node ended by itself:\n{process.log}")
        samples = watch(node, options.duration)
        baseline = next(s for s in samples if s.seconds >= BASELINE * options.duration)
        failed = problems(samples, baseline)
        process.end(signal.SIGINT)
        if process.process.returncode != 0:
            failed.append(f"the node ended with {process.process.returncode}")
        command = f"make soak DURATION={options.duration:g}"
        if options.backend != "auto":
            command = " ".join(["python", *sys.argv])
        text = page(node, samples, baseline, command, failed)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text, encoding="utf-8")
        print(text)
        return int(bool(failed))
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()
        peer.close()


if __name__ == "__main__":
    sys.exit(main())
