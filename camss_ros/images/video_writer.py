"""Writing mp4 files that play where people open them."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camss_ros.images.ffmpeg import av, file_url

_TIME_BASE = Fraction(1, 90_000)
_LONGEST_PAUSE = 600 * 90_000  # mp4 keeps in 31 bits how far B-frames are moved, by several pauses


class VideoWriter:
    """An mp4 file of RGB frames; it appears under its name when it is complete.

    H.264 by PyAV: the OpenCV wheel has no encoder of it, and what it has doesn't play in browsers.

        with VideoWriter(path, fps=10) as video:
            video.write(image)        # uint8 [H, W, 3] RGB

    The first frame sets the size, later ones are scaled to it. Leaving the block with an exception
    keeps nothing.

    Raises:
        OSError: the file can't be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.frames = 0
        self._fps = fps
        # The suffix stays, the encoders choose the container by it.
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._last, self._left_out = -1, 0  # in ticks: stamp of the latest frame, of the pauses

    def write(self, image: np.ndarray, time: float | None = None) -> None:
        """Append one frame, uint8 [H, W, 3] RGB.

        Args:
            time: seconds since the first one, growing; None: a frame follows the other at `fps`.
                Of a pause of more than ten minutes the rest is left out.
        """
        if self._container is None:
            height, width = image.shape[:2]
            # 4:2:0 chroma needs even sides.
            self._size = (max(2, width // 2 * 2), max(2, height // 2 * 2))
            self._open()
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.time_base = _TIME_BASE
        frame.pts = self._next_stamp(self.frames / self._fps if time is None else time)
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def _next_stamp(self, time: float) -> int:
        stamp = round(time / _TIME_BASE) - self._left_out
        excess = max(0, stamp - self._last - _LONGEST_PAUSE)
        self._left_out += excess
        self._last = max(stamp - excess, self._last + 1)  # two frames may come within a tick
        return self._last

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None:
            return
        try:
            # after an error, its own end may fail as well and would hide it
            with contextlib.suppress(*([OSError] if kind else [])):
                self._container.mux(self._stream.encode())
                self._container.close()
            if kind is None:
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self) -> None:
        self._container = av.open(file_url(self._partial), "w", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream(
            "libx264",
            rate=Fraction(self._fps).limit_denominator(1001),
            options={"preset": "veryfast", "crf": "23"},
        )
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"  # the one every player decodes
        self._stream.codec_context.time_base = _TIME_BASE
