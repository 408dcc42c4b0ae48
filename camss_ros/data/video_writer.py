"""Writing mp4 files that play where people open them."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np


class _Encoder(Protocol):
    def write(self, image: np.ndarray) -> None: ...
    def close(self) -> None: ...


class VideoWriter:
    """An mp4 file of RGB frames; it appears under its name when it is complete.

    H.264 by PyAV where that is installed, else MPEG-4 part 2 by OpenCV. The OpenCV wheel has no
    H.264 encoder; its MPEG-4 part 2 doesn't play in browsers, and its VP9, which does, takes
    0.2 s a frame at 480 x 352, since the encoder's speed can't be set. H.264 takes 5 ms.

        with VideoWriter(path, fps=10) as video:
            video.write(image)        # uint8 [H, W, 3] RGB

    The first frame sets the size, later ones are scaled to it. Leaving the block with an exception
    keeps nothing. Raises OSError where the file can't be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.frames = 0
        self._fps = fps
        # The suffix stays, the encoders choose the container by it.
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._encoder: _Encoder | None = None
        self._size = (0, 0)

    def write(self, image: np.ndarray) -> None:
        """Append one frame, uint8 [H, W, 3] RGB."""
        if self._encoder is None:
            height, width = image.shape[:2]
            # 4:2:0 chroma needs even sides.
            self._size = (max(2, width // 2 * 2), max(2, height // 2 * 2))
            self._encoder = self._open()
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._encoder.write(image)
        self.frames += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._encoder is None:
            return
        try:
            # after an error, its own end may fail as well and would hide it
            with contextlib.suppress(*([OSError] if kind else [])):
                self._encoder.close()
            if kind is None:
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self) -> _Encoder:
        if importlib.util.find_spec("av") is not None:
            return _PyavEncoder(self._partial, self._fps, self._size)
        return _OpencvEncoder(self._partial, self._fps, self._size)


class _PyavEncoder:
    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        from fractions import Fraction

        import av

        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        stream = self._container.add_stream(
            "libx264",
            rate=Fraction(fps).limit_denominator(1001),
            options={"preset": "veryfast", "crf": "23"},
        )
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"  # the one every player decodes
        self._stream = stream

    def write(self, image: np.ndarray) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


class _OpencvEncoder:
    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        self._path = path
        if not self._writer.isOpened():
            raise OSError(f"OpenCV can't write a video to '{path}'")

    def write(self, image: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()
        # OpenCV says nothing of a full disk; the index of the frames is written last.
        if not cv2.VideoCapture(str(self._path)).isOpened():
            raise OSError(f"OpenCV couldn't write the video '{self._path}': is the disk full?")
