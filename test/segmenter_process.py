"""`segmenter` in a process of its own, and a camera in front of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ros_peer import TIMEOUT, RosPeer, rgb_image, wait_until
from sensor_msgs.msg import CameraInfo, Image

from camss_ros.nodes.qos import LATCHED

SEGMENTER = Path(__file__).resolve().parents[1] / "scripts" / "segmenter"
HEIGHT, WIDTH = 40, 60


class Process:
    """`segmenter` in a process of its own."""

    def __init__(self, domain_id: int, *arguments: str) -> None:
        self.domain_id = domain_id
        self.process = subprocess.Popen(
            # Where a shell starts the tests in the background, SIGINT is ignored and inherited.
            ["env", "--default-signal=INT", sys.executable, str(SEGMENTER), *arguments],
            env={**os.environ, "ROS_DOMAIN_ID": str(domain_id), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        self._started = time.monotonic()
        self._start_time = 0.0  # s, until it says something: most of it are imports
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._start_time = self._start_time or time.monotonic() - self._started
                self._lines.append(line)

    @property
    def log(self) -> str:
        return "".join(list(self._lines))

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log or self.process.poll() is not None, f"{text!r} in log")
        assert text in self.log, self.log

    @property
    def end_limit(self) -> float:
        """s that it may take to end: 2, and more where the machine is slow or others keep it busy,
        in the last minute or now."""
        load, _, _, tasks, _ = Path("/proc/loadavg").read_text().split()
        wanted = max(float(load), int(tasks.partition("/")[0]))
        overloaded = wanted > 2 * len(os.sched_getaffinity(0))
        return 20.0 if overloaded else max(2.0, self._start_time / 2)

    def end(self, number: int) -> float:
        """Send a signal; seconds until the process has ended."""
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(TIMEOUT)
        self._reader.join()
        return time.monotonic() - start


@contextmanager
def at_the_front(
    spawn: Callable[..., Process], domain_id: int, model: Path, **parameters: Any
) -> Iterator[tuple[Process, RosPeer]]:
    """An active segmenter in the namespace /front, and a peer there, which is closed at the end."""
    process = spawn("-r", "__ns:=/front", model=model, device="cpu", **parameters)
    peer = RosPeer(domain_id, namespace="/front")
    process.wait_for_log("active: segmenting /front/image")
    yield process, peer
    peer.close()


class Camera:
    """A running node in a namespace of its own, and a camera whose images arrive there."""

    def __init__(self, peer: RosPeer, process: Process) -> None:
        from camss_ros.msg import SegmenterStatus

        self.peer, self.process, self.number = peer, process, 0
        self.image = peer.publisher(Image, "image")
        self.info = peer.publisher(CameraInfo, "camera_info")
        peer.listen(Image, "segmentation/mask")
        peer.listen(Image, "segmentation/confidence")
        peer.listen(CameraInfo, "segmentation/camera_info")
        peer.listen(SegmenterStatus, "segmentation/status", LATCHED)
        # Messages are lost until both sides know each other: repeat until everything comes back.
        wait_until(self._answers, f"an answer to an image; log: {process.log}")

    def _answers(self) -> bool:
        self.info.publish(CameraInfo(height=HEIGHT, width=WIDTH))
        self.image.publish(self.next_image())
        time.sleep(0.2)
        topics = ("mask", "confidence", "camera_info", "status")
        return all(self.peer.received[f"segmentation/{topic}"] for topic in topics)

    def next_image(self) -> Image:
        self.number += 1
        return rgb_image(self.number, HEIGHT, WIDTH)

    def status(self, condition: Callable[[Any], bool] = lambda _: True) -> Any:
        """The newest status that meets a condition."""
        statuses = self.peer.received["segmentation/status"]
        return wait_until(
            lambda: next((s for s in reversed(list(statuses)) if condition(s)), None),
            f"such a status; last: {statuses[-1:]}",
        )

    def settled(self, received: int = 0) -> Any:
        """The status once every image, so many or more, has been dealt with."""
        return self.status(
            lambda s: s.segmented + s.dropped + s.rejected + s.failed == s.received >= received
        )

    def segment(self, image: Image) -> Image:
        """Publish an image and wait for its mask."""
        self.image.publish(image)
        return self.peer.wait_for_stamp("segmentation/mask", image)
