"""Where frames come from: a video, an image, an image folder or the synthetic street.

    source = open_frames("drive.mp4")
    for frame in source:          # every loop starts at the first frame again
        frame.image               # uint8 [H, W, 3] RGB

A file of a folder that can't be read is skipped with a warning and kept in `source.skipped`.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from camss_ros.data.image_files import IMAGE_SUFFIXES, read_image, read_pixels, visible
from camss_ros.data.street.light import VARIANTS, Variant
from camss_ros.data.synthetic import FRAME_RATE, SyntheticStreet
from camss_ros.model.label_class import VOID

DEFAULT_FPS = 10.0  # for image files, which have no rate of their own

_log = logging.getLogger(__name__)


class UnreadableInputError(ValueError):
    """The input exists, but no frame can be read from it."""


@dataclass(frozen=True)
class Frame:
    """One frame: `image` uint8 [H, W, 3] RGB; `name` unique in its source, without a suffix;
    `label` uint8 [H, W] class ids with 255 for void, or None where there is none; `time` seconds
    since the first frame of a video, None where the source has no clock of its own."""

    image: np.ndarray
    name: str
    label: np.ndarray | None = None
    time: float | None = None


class FrameSource(ABC):
    """Frames in order. Iterating starts at the first frame each time.

    `fps`: frames a second. `length`: frames at most, None when unknown or without end.
    `endless`: whether iterating never stops. `label_set`: the name of the labels' set, None where
    nobody said. `skipped`: the files that could not be read so far. `files`: what is read. Of the
    latest iteration over a video: `missing`, the number of frames that it should have and has not;
    `damage`, what is wrong with it, in sentences.
    """

    fps: float = DEFAULT_FPS
    length: int | None = None
    endless: bool = False
    is_video: bool = False
    label_set: str | None = None
    files: Sequence[Path] = ()
    missing: int = 0
    damage: Sequence[str] = ()

    def __init__(self) -> None:
        self.skipped: list[Path] = []

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) of the first frame; images of a folder may differ from it."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...


class ImageFrames(FrameSource):
    """Image files in the given order, with a label image for some or all of them.

    `labels` maps an image to its label file. Label values from `classes` on are void: data sets
    number it just after their classes (11 in CamVid).
    """

    def __init__(
        self, images: list[Path], labels: dict[Path, Path] | None = None, classes: int | None = None
    ) -> None:
        super().__init__()
        self._images = images
        self._labels = labels or {}
        self._classes = classes
        self.files = (*images, *self._labels.values())
        self.length = len(images)
        stems = Counter(path.stem for path in images)
        # a.png beside a.jpg: only the whole file name tells them apart.
        self._names = [path.stem if stems[path.stem] == 1 else path.name for path in images]

    @cached_property
    def _first(self) -> Frame:
        for frame in self:
            return frame
        raise UnreadableInputError(
            f"none of the {len(self._images)} image files can be read, the first is "
            f"'{self._images[0]}'"
        )

    @property
    def size(self) -> tuple[int, int]:
        height, width = self._first.image.shape[:2]
        return height, width

    def __iter__(self) -> Iterator[Frame]:
        for path, name in zip(self._images, self._names, strict=True):
            image = read_image(path)
            if image is None:
                self._skip(path, "image")
                continue
            label = self._read_label(self._labels[path], image) if path in self._labels else None
            yield Frame(image, name, label)

    def _read_label(self, path: Path, image: np.ndarray) -> np.ndarray | None:
        label = read_pixels(path, cv2.IMREAD_UNCHANGED)
        if label is None or label.dtype != np.uint8 or label.shape != image.shape[:2]:
            self._skip(path, "label image (expected 8 bit, one channel, the size of its image)")
            return None
        if self._classes is not None:
            label[label >= self._classes] = VOID
        return label

    def _skip(self, path: Path, what: str) -> None:
        if path not in self.skipped:  # once, however often the source is looped
            self.skipped.append(path)
            _log.warning(
                "skipped '%s': not a readable %s (%d skipped)", path, what, len(self.skipped)
            )


class SyntheticFrames(FrameSource):
    """The procedural street, without end, with exact labels."""

    endless = True
    fps = FRAME_RATE
    label_set = "camvid11"

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self._street = SyntheticStreet(variant=variant)

    @property
    def size(self) -> tuple[int, int]:
        return self._street.height, self._street.width

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            image, label = self._street.frame(index)
            yield Frame(image, f"frame_{index:06d}", label)
            index += 1


def open_frames(spec: str | Path, classes: int | None = None) -> FrameSource:
    """The frames that `spec` names.

    `spec`: a video file; an image file; a folder of images (in natural order: img9 before img10);
    a folder with `images/` and, for labels of the same stem, `labels/`; `synthetic`,
    `synthetic:dusk` or `synthetic:fog`. `classes`: the number of classes in label files; larger
    values become 255 (void). Raises FileNotFoundError where nothing is, UnreadableInputError for
    what can't be opened or holds no frames.
    """
    kind, _, variant = str(spec).partition(":")
    if kind == "synthetic":
        for known in VARIANTS:
            if variant in (known, ""):
                return SyntheticFrames(known)
        raise UnreadableInputError(
            f"'{spec}' is not a synthetic street; the variants are "
            + ", ".join(f"synthetic:{known}" for known in VARIANTS)
        )

    path = Path(spec)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL character
        raise UnreadableInputError(f"can't open {str(spec)!r}: {error}") from error
    if is_folder:
        return _open_folder(path, classes)
    if not is_file:
        raise FileNotFoundError(
            f"there is no '{spec}': expected a video file, an image, a folder of images or "
            "'synthetic', 'synthetic:dusk', 'synthetic:fog'"
        )
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        from camss_ros.data.video_frames import VideoFrames  # FFmpeg takes a while to load

        return VideoFrames(path)
    source = ImageFrames([path])
    if read_image(path) is None:
        raise UnreadableInputError(f"'{path}' is not a readable image (damaged or truncated?)")
    return source


def _open_folder(folder: Path, classes: int | None) -> FrameSource:
    images = _image_files(folder)
    labels: dict[Path, Path] = {}
    if not images and (folder / "images").is_dir():
        images = _image_files(folder / "images")
        if (folder / "labels").is_dir():
            by_stem = {path.stem: path for path in _image_files(folder / "labels")}
            labels = {image: by_stem[image.stem] for image in images if image.stem in by_stem}
    if not images:
        raise UnreadableInputError(
            f"no images in '{folder}' nor in its folder images/ "
            f"(looked for {', '.join(IMAGE_SUFFIXES)})"
        )
    return ImageFrames(images, labels, classes)


def _image_files(folder: Path) -> list[Path]:
    files = (p for p in visible(folder) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    return sorted(files, key=lambda path: _natural_key(path.name))


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    # ASCII digits only: int() refuses some that str.isdigit() accepts.
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(p), p) if p[:1].isdigit() and p.isascii() else (1, 0, p) for p in parts]
