"""The pictures of a video file with the stamps that the file has, also past damage.

PyAV (FFmpeg) reads them: OpenCV ends at the first picture that it can't decode and at a long pause,
and has no stamps.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camss_ros.images.ffmpeg import av, file_url
from camss_ros.images.frames import DEFAULT_FPS, Frame, FrameSource, UnreadableInputError

_OVERHEAD = 128  # bytes at most between two packets of a Matroska file
_FAILURES = 1000  # to read, one after the other, until the rest of a file is given up
_BT709 = 1  # FFmpeg's AVCOL_SPC_BT709

_log = logging.getLogger(__name__)


class VideoFrames(FrameSource):
    """The frames of a video file, upright.

    What can't be decoded is passed over: `missing` and `damage` tell of the latest iteration.

    Raises:
        UnreadableInputError: the file is no video, or not one frame can be read.
    """

    is_video = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.files = (path,)
        self._warned = False
        self._turns = 0
        with self._open() as container:
            reading = _Reading(container, "AUTO")
            rate = reading.stream.average_rate or 0
            self.fps = float(rate) if 0 < rate <= 1000 else DEFAULT_FPS
            # Some containers don't count their pictures.
            self.length = reading.stream.frames or round(reading.seconds * self.fps) or None
        self._turns = _quarter_turns(path)
        first = next(iter(self), None)
        if first is None:
            raise UnreadableInputError(f"'{path}' opens as a video but holds no readable frame")
        self._size = (first.image.shape[0], first.image.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """See `FrameSource`."""
        return self._size

    def __iter__(self) -> Iterator[Frame]:
        given = 0
        # Decoders with a picture in each thread lose good ones beside a bad one at the end of the
        # file. After damage, what was not given yet is decoded by one thread.
        for threads in ("AUTO", "NONE"):
            with self._open() as container:
                reading = _Reading(container, threads)
                clock = _Clock(1 / self.fps)
                try:
                    for index, picture in enumerate(reading):
                        time = clock.read(picture.pts, reading.stream.time_base)
                        if index == given:
                            given += 1
                            image = np.rot90(_rgb(picture), self._turns)
                            name = f"frame_{index:06d}"
                            yield Frame(np.ascontiguousarray(image), name, time=time)
                finally:
                    self.missing, faults = reading.report(self.fps, clock.is_regular)
                    self.damage = [f"'{self.path}' is damaged: {', '.join(faults)}"] * bool(faults)
            if not reading.lost:
                break
        if self.damage and not self._warned:  # once, however often the video is looped
            self._warned = True
            _log.warning("%s", self.damage[0])

    def _open(self) -> Any:
        try:
            container = av.open(file_url(self.path), metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise UnreadableInputError(
                f"'{self.path}' is neither a video nor an image that can be read ({error.strerror}"
                "; damaged or cut off?): give a video file, an image, a folder of images or "
                "'synthetic'"
            ) from error
        if not container.streams.video or container.streams.video[0].codec_context is None:
            container.close()
            raise UnreadableInputError(f"'{self.path}' holds no video that FFmpeg can decode")
        return container


class _Reading:
    """Decodes the pictures of an open container once and counts what is wrong with them.

    `threads`: the threading of the decoder. With others than NONE it ends at the first picture that
    can't be decoded.
    """

    def __init__(self, container: Any, threads: str) -> None:
        self.stream = container.streams.video[0]
        self.stream.codec_context.thread_type = threads
        self._container = container
        self._threaded = threads != "NONE"
        self._packets = self._pictures = 0
        self._undecoded = self._flagged = self._unread = 0
        self._end = 0.0  # of what was read, s after the beginning
        self._position, self._due = sys.maxsize, 0.0  # of the next packet
        self._is_at_end = False

    @property
    def lost(self) -> bool:
        """Whether decoding without threads gives more pictures, perhaps."""
        return self._threaded and (
            self._undecoded > 0 or (self._is_at_end and self._pictures < self._packets)
        )

    @property
    def seconds(self) -> float:
        """How long the file is by what it says itself; 0 where it does not."""
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        return (self._container.duration or 0) / av.time_base - self._begin

    @property
    def _begin(self) -> float:
        """The stamp of the first picture, or of sound where the pictures' length is unknown, s."""
        if self.stream.duration:
            return float((self.stream.start_time or 0) * self.stream.time_base)
        return (self._container.start_time or 0) / av.time_base

    def __iter__(self) -> Iterator[Any]:
        for packet in self._read():
            if packet is not None:
                self._see(packet)
                if packet.stream.index != self.stream.index:
                    continue
                self._packets += 1
            try:
                pictures = self.stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                self._undecoded += 1
                if self._threaded:
                    return
                continue
            self._pictures += len(pictures)
            self._flagged += sum(picture.is_corrupt for picture in pictures)
            yield from pictures
        self._is_at_end = True

    def _read(self) -> Iterator[Any]:
        """The packets of all streams, also past what can't be read; then None for the decoder's
        end."""
        failures = 0
        while failures < _FAILURES:
            try:
                for packet in self._container.demux():
                    failures = 0
                    # Without data: PyAV's own end, or a repeated picture, which is the same to it.
                    if packet.size:
                        yield packet
                break
            except av.error.FFmpegError:
                self._unread += 1
                failures += 1
        yield None

    def _see(self, packet: Any) -> None:
        at = packet.dts if packet.pts is None else packet.pts
        is_video = packet.stream.index == self.stream.index
        # Pictures of a known length are held against it; elsewhere sound may be longer.
        if at is not None and (is_video or not self.stream.duration):
            end = float((at + (packet.duration or 0)) * packet.time_base) - self._begin
            self._end = max(self._end, end)
        # FFmpeg looks for the next part that is whole in Matroska without a word.
        if "matroska" in self._container.format.name and packet.pos is not None:
            if is_video and at is not None:
                if at > self._due and packet.pos > self._position + _OVERHEAD:
                    self._unread += 1
                self._due = at + 1.5 * (packet.duration or 0)
            self._position = packet.pos + packet.size

    def report(self, fps: float, is_regular: bool) -> tuple[int, list[str]]:
        """How many pictures are missing in what was read, and what is wrong, in words.

        `is_regular`: whether the pictures that are there follow each other at `fps`.
        """
        known = self.stream.frames
        # An edit list leaves out pictures that are counted.
        has_edits = "mov" in self._container.format.name
        is_cut = self._is_at_end and (
            self._end + min(2 / fps, 0.5) < self.seconds
            or (not has_edits and self._packets < known)
        )
        faults = []
        if self._undecoded:
            faults.append(_count(self._undecoded, "picture") + " can't be decoded")
        if self._flagged:
            faults.append(_count(self._flagged, "picture") + " decoded in part")
        if self._unread:
            faults.append(_count(self._unread, "part") + " can't be read")
        if is_cut:
            faults.append(f"it ends at {self._end:.2f} s of {self.seconds:.2f} s")
        if not faults:
            return 0, []
        missing = self._undecoded
        if self._is_at_end:
            said = known or (round(self.seconds * fps) if is_regular else 0)
            missing = max(missing, max(said, self._packets) - self._pictures)
        if missing:
            faults.append(f"{'' if known else 'about '}{_count(missing, 'picture')} missing")
        return missing, faults


class _Clock:
    """Seconds since the first picture, always growing, whatever stamps there are.

    `period`: s between two pictures where stamps say nothing.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._offset: float | None = None
        self._last = 0.0
        self._steps = self._regular = 0

    @property
    def is_regular(self) -> bool:
        """Whether nearly all pictures came a period after the one before."""
        return self._regular >= 0.9 * self._steps

    def read(self, pts: int | None, time_base: Fraction) -> float:
        """The time of the next picture."""
        seconds = None if pts is None else float(pts * time_base)
        if self._offset is None:
            self._offset = -(seconds or 0.0)
            return self._last
        time = self._last + self._period
        if seconds is not None:
            if seconds + self._offset > self._last:
                time = seconds + self._offset
            else:  # two recordings in one file, or a damaged stamp
                self._offset = time - seconds
        self._steps += 1
        self._regular += abs(time - self._last - self._period) < 0.25 * self._period
        self._last = time
        return time


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rgb(picture: Any) -> np.ndarray:
    """uint8 [H, W, 3], by the matrix that the video names, without one by BT.601, as OpenCV."""
    named = {}
    if getattr(picture, "colorspace", None) == _BT709:
        # PyAV before 17 takes BT.601 for every video.
        named = {"src_colorspace": "ITU709", "dst_colorspace": "ITU601"}
    rgb: np.ndarray = picture.to_ndarray(format="rgb24", **named)
    return rgb


def _quarter_turns(path: Path) -> int:
    """By which the pictures must be turned anticlockwise to be upright.

    Of OpenCV, since PyAV shows it in no way that all its versions have.
    """
    try:
        str(path).encode()  # OpenCV would crash
    except UnicodeEncodeError as error:
        raise UnreadableInputError(f"'{path}' has a name that is no UTF-8: rename it") from error
    capture = cv2.VideoCapture(file_url(path), cv2.CAP_FFMPEG)
    try:
        return -round(capture.get(cv2.CAP_PROP_ORIENTATION_META) / 90) % 4
    finally:
        capture.release()
