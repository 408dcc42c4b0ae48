"""Section of the page about speed: commands that segment files, against the network alone."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camss_ros.bags.make_bag import make_bag
from camss_ros.errors import CamssError
from camss_ros.images.frames import open_frames
from camss_ros.images.video_writer import VideoWriter
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import street_frames
from camss_ros.lab.machine import describe_segmenter
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.study_output import markdown_table, paragraph, verdict

ALLOWED_RATIO = 1.3
_PICTURES = 8
_FPS = 25.0


class OfflineError(CamssError):
    """A command failed; the message has what it said."""


def _measure(run: SpeedRun) -> dict[str, Any]:
    """Each command on a video or bag of the street, and the network on its frames, in turns."""
    offline = run.settings.offline
    segmenter = run.settings.segmenter()
    segmenter.warm_up(*offline.frame_size)
    spec = run.settings.spec
    options = [
        "--model", str(spec.model), "--device", spec.device, "--precision", spec.precision,
        "--backend", spec.backend, "--steps", str(spec.sampling.steps),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="camss_ros-") as folder:
        video, bag = Path(folder) / "street.mp4", Path(folder) / "street_bag"
        pictures = street_frames(offline.frame_size, _PICTURES)
        with VideoWriter(video, _FPS) as writer:
            for index in range(offline.frames):
                writer.write(pictures[index % _PICTURES])
        make_bag(open_frames(video), bag)
        first = ["--duration", str(0.5 / _FPS)]  # the first frame alone
        commands = {
            "segment": (["segment", str(video)], ["--frames", "1"]),
            "evaluate-bag": (["evaluate-bag", str(bag), "--image", "/camera/image"], first),
        }
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for turn in range(offline.turns):
            for name, (words, one) in commands.items():
                run.progress(f"{name}, turn {turn + 1} of {offline.turns}")
                outputs = [Path(folder) / f"{name}{turn}{each}" for each in ("one", "all")]
                start = _seconds([*words, *one, *options, "--output", str(outputs[0])])
                whole = _seconds([*words, *options, "--output", str(outputs[1])])
                alone = _network_alone(segmenter, video)
                turns[name].append({"start_s": start, "whole_s": whole, "alone_ms": 1e3 * alone})
    segmenter.close()
    height, width = offline.frame_size
    return {
        **describe_segmenter(segmenter),
        "frames": offline.frames,
        "frame_size": f"{width} x {height}",
        "commands": turns,
    }


def _seconds(words: list[str]) -> float:
    """From the start of the process of a command to its end. Raises OfflineError."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "camss_ros.cli", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        raise OfflineError(f"camss-ros {words[0]}: {(done.stderr or done.stdout).strip()}")
    return seconds


def _network_alone(segmenter: Segmenter, video: Path) -> float:
    """Seconds a frame, with nothing else to do."""
    images = [frame.image for frame in open_frames(video)]
    start = time.perf_counter()
    for image in images:
        segmenter.segment(image)
    return (time.perf_counter() - start) / len(images)


def show_offline(row: Mapping[str, Any]) -> str:
    """Markdown of what was measured."""
    ratios, lines = {}, []
    for name, turns in row["commands"].items():

        def median(key: str, turns: list[dict[str, float]] = turns) -> float:
            return statistics.median(turn[key] for turn in turns)

        frame = [1e3 * (t["whole_s"] - t["start_s"]) / (row["frames"] - 1) for t in turns]
        own = [ms / turn["alone_ms"] for ms, turn in zip(frame, turns, strict=True)]
        ratios[name] = statistics.median(own)
        lines.append([
            f"`{name}`", f"{median('start_s'):.1f}", f"{median('whole_s'):.1f}",
            f"{1e3 / statistics.median(frame):.1f}", f"{1e3 / median('alone_ms'):.1f}",
            f"{ratios[name]:.2f} ({min(own):.2f} to {max(own):.2f})",
        ])  # fmt: skip
    holds = all(ratio <= ALLOWED_RATIO for ratio in ratios.values())
    turns = len(next(iter(row["commands"].values())))
    how = paragraph(f"""
        {row["frames"]} frames of {row["frame_size"]} in a video and in a bag, by {row["backend"]}
        in {row["dtype"]}; each command is a process of its own, {turns} times, in turns with the
        network alone. Start: of a run with one frame. Frames a second are of the others; the ratio
        is the time of one of them to that of the network, its median, lowest and highest. The
        promise {verdict(holds)}.""")
    header = [
        "command", "start, s", "whole, s", "frames a second", "of the network alone", "ratio"
    ]  # fmt: skip
    return f"{how}\n\n{markdown_table(header, lines)}"


SECTION = Section(
    "offline",
    "Files and bags",
    f"after its start, a command takes at most {ALLOWED_RATIO:g} times as long as the network",
    _measure,
    show_offline,
)
