"""Drives to pick frames from: what a camera has left in a bag, a video or a folder of images."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from camss_ros.bags.bag import Bag, BagError, BagMessage, Topic
from camss_ros.bags.bag_frames import BagFrames, BagSelection, Faults, decode_image
from camss_ros.bags.bag_paths import holds_bag_data
from camss_ros.bags.bag_storage import storage_kind, storage_stem
from camss_ros.bags.bag_types import IMAGE_TYPES
from camss_ros.datasets.datasets import told_apart
from camss_ros.images.encodings import ImageRejectedError
from camss_ros.images.frames import FrameSource, open_frames
from camss_ros.images.image_files import DataError, why_no_image
from camss_ros.images.label_sets import LabelSet

# Seconds since 1970, of this century, and parts; or the number and the time of a bag's frame.
_STAMP = (
    r"(?:(?<![0-9])[0-9]{6}[_.-])?(?<![0-9])[12][0-9]{9}[_.-][0-9]{1,9}"
    r"|(?<![0-9])[0-9]{6}_[0-9]+[_.][0-9]{9}"
)
_NUMBER = r"(?:(?<![A-Za-z])[A-Za-z])?[0-9]+"  # such as f00030, but not the last letter of a word
_BETWEEN = r"[ _.()-]"
# What it shows, such as rgb or leftImg8bit.
_WORDS = rf"(?:{_BETWEEN}+[^\W\d_]+(?:[0-9]+[^\W\d_]+)*)*{_BETWEEN}*"


@dataclass(frozen=True)
class DriveFrame:
    """A frame that can be looked at.

    Attributes:
        number: in its drive, from 0, growing.
        name: for a file without its suffix; unique in the drive.
        drive: which frames were recorded together.
        stamp: ns, of the header or since the beginning of a video; None of an image file.
        read: the image uint8 [H, W, 3] RGB, or None where it can't be decoded.
    """

    number: int
    name: str
    drive: str
    stamp: int | None
    read: Callable[[], np.ndarray | None]


class Drive(ABC):
    """The frames of one camera, in order, again from the first with each iteration.

    Attributes:
        name: for files, unique among the drives.
        source: what was read.
        topic: of a bag; else None.
        files: whose change makes it another drive.
        length: frames at most, None when unknown.
        problems: what could not be read, in sentences.
    """

    name: str
    source: Path
    topic: str | None = None
    files: Sequence[Path] = ()
    length: int | None = None
    problems: Sequence[str] = ()

    @abstractmethod
    def __iter__(self) -> Iterator[DriveFrame]: ...


class BagDrive(Drive):
    """An image topic of a bag. Messages are decoded only where a frame is read."""

    def __init__(self, name: str, bag: Bag, topic: Topic, drive: str) -> None:
        self.name, self.source, self.topic, self.length = name, bag.path, topic.name, topic.messages
        self.files = bag.files
        self._drive = drive
        self._told: set[int] = set()

    def __iter__(self) -> Iterator[DriveFrame]:
        assert self.topic is not None
        with Bag(self.source) as bag:
            frames = BagFrames(bag, BagSelection(self.topic), LabelSet("", ()).from_file_values())
            faults = frames.faults
            try:
                for number, stamp, message in frames.messages():
                    name = f"{self.name}_{_file_name(frames.name(number))}"
                    read = partial(self._decoded, bag, message, number, stamp, faults)
                    yield DriveFrame(number, name, self._drive, stamp, read)
            except BagError as error:  # came up now only; what was yielded is good
                bag.warnings.append(str(error))
            finally:
                # with those of before: another iteration may read a few frames only
                found = [*self.problems, *bag.warnings, *faults.listed]
                self.problems = list(dict.fromkeys(found))

    def _decoded(
        self, bag: Bag, message: BagMessage, number: int, stamp: int, faults: Faults
    ) -> np.ndarray | None:
        try:
            return decode_image(bag, message)
        except (BagError, ImageRejectedError) as error:
            if number not in self._told:  # a frame is read as the one before another, too
                self._told.add(number)
                faults.add(message.topic, number, stamp, error)
            return None


class FileDrive(Drive):
    """A video, or image files in their order."""

    def __init__(self, name: str, source: Path, frames: FrameSource) -> None:
        self.name, self.source, self._frames = name, source, frames
        self.files, self.length = frames.files, frames.length

    def __iter__(self) -> Iterator[DriveFrame]:
        taken: set[str] = set()
        for number, frame in enumerate(self._frames):
            stamp = None if frame.time is None else round(frame.time * 1e9)
            own = _file_name(frame.name)
            name = f"{self.name}_{own}"
            drive = self.name if stamp is not None else drive_of(own, self.name)
            if name in taken:  # the letters that tell them apart are none of a file's
                name = f"{name}_{number}"
            taken.add(name)
            yield DriveFrame(number, name, drive, stamp, partial(np.asarray, frame.image))
        skipped = [why_no_image(path) for path in self._frames.skipped]
        self.problems = [*skipped, *self._frames.damage]


def open_drives(sources: Sequence[Path], topics: Sequence[str] = ()) -> list[Drive]:
    """The drives in bags, videos and folders of images, in order.

    Args:
        sources: each of them, none twice.
        topics: image topics to take of bags; none for the only one that a bag has.

    Raises:
        FileNotFoundError: a source is not there.
        ValueError: a source can't be read, lacks a topic, or has several and none was named
            (BagError, UnreadableInputError); it has no end or is named twice (DataError).
    """
    if len({source.resolve() for source in sources}) < len(sources):
        raise DataError(f"a source is named twice: {', '.join(map(str, sources))}")
    drives: list[Drive] = []
    for source, name in zip(sources, _names(sources), strict=True):
        if holds_bag_data(source):
            with Bag(source) as bag:
                chosen = _topics(bag, topics)
                for topic in chosen:
                    part = f"_{_file_name(topic.name.strip('/'))}" if len(chosen) > 1 else ""
                    drives.append(BagDrive(name + part, bag, topic, name))
        else:
            frames = open_frames(source)
            if frames.endless:
                raise DataError(f"'{source}' has no end: pick from bags, videos and folders")
            drives.append(FileDrive(name, source, frames))
    return drives


def drive_of(name: str, folder: str = "") -> str:
    """The drive that the name of a frame tells of: all before its last number or stamp.

    0001TP of 0001TP_008550, Seq05VD of Seq05VD_f00030, frame of frame0012, rgb of
    rgb_1305031102.175304, monday of monday_000005_1700000000_500000000 (as `pick` names frames of
    bags), run_a of run_a_0003_rgb; the name itself where it has no number. With the name of a
    folder, that comes before it.
    """
    found = re.fullmatch(rf"(.*?){_BETWEEN}*(?:{_STAMP}|{_NUMBER}){_WORDS}", name)
    return "_".join(filter(None, (folder, name if found is None else found[1]))) or "unnamed"


def _topics(bag: Bag, wanted: Sequence[str]) -> Sequence[Topic]:
    if wanted:
        return [bag.require(topic) for topic in dict.fromkeys(wanted)]
    found = [topic for topic in bag.topics if topic.type in IMAGE_TYPES and topic.messages]
    if len(found) != 1:
        names = ", ".join(topic.name for topic in found)
        there = f"has several image topics, {names}" if found else "has no images"
        raise BagError(f"'{bag.path}' {there}: name those to pick from (--image)")
    return found


def _names(sources: Sequence[Path]) -> list[str]:
    """For files: the name of each source, of links their own."""
    return told_apart(
        [
            _file_name(storage_stem(p) if storage_kind(p) else p.stem if p.is_file() else p.name)
            for p in (Path(os.path.abspath(source)) for source in sources)
        ]
    )


def _file_name(text: str) -> str:
    """The text with nothing in it that a labelling tool, a URL or a file system takes amiss."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)
