"""Where frames come from: a video, an image, an image folder or the synthetic street.

    source = open_frames("drive.mp4")
    for frame in source:          # every loop starts at the first frame again
        frame.image               # uint8 [H, W, 3] RGB

An image of a folder that can't be read is skipped with a warning and kept in `source.skipped`;
a label file that is wrong in any way raises DataError.
"""

from __future__ import annotations

import itertools
import logging
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from camss_ros.git_lfs import is_lfs_pointer, why_unreadable
from camss_ros.images.image_files import (
    IMAGE_SUFFIXES,
    encode_image,
    read_image,
    stem,
    visible,
    why_no_image,
)
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_files import LabelFiles
from camss_ros.images.label_mapping import label_set_of, mapping_onto_labels
from camss_ros.images.label_sets import LabelSet, LabelSetError, NoMappingError, load_label_set

DEFAULT_FPS = 10.0  # for image files, which have no rate of their own

_log = logging.getLogger(__name__)


class UnreadableInputError(ValueError):
    """The input exists, but no frame can be read from it."""


@dataclass(frozen=True)
class Frame:
    """One frame: `image` uint8 [H, W, 3] RGB; `name` unique in its source, without a suffix;
    `label` uint8 [H, W] class ids with 255 for void, or None where there is none; `time` seconds
    since the first frame of a video, None where the source has no clock of its own; `depth` float32
    [H, W] metres along the optical axis, NaN for none, or None where nobody knows it."""

    image: np.ndarray
    name: str
    label: np.ndarray | None = None
    time: float | None = None
    depth: np.ndarray | None = None


class FrameSource(ABC):
    """Frames in order. Iterating starts at the first frame each time.

    Attributes:
        fps: frames a second.
        length: frames at most, None when unknown or without end.
        endless: whether iterating never stops.
        is_video: whether it is a video file.
        label_set: that of the frames' labels, None where they have none.
        files: what is read.
        skipped: the files that could not be read so far.
        missing: of the latest iteration over a video, the frames that it should have and has not.
        damage: what is wrong with it, in sentences.
        horizontal_fov: of the camera, degrees, None when unknown.
        has_depth: whether it knows the depth of its frames.
        with_depth: whether its frames have it.
    """

    fps: float = DEFAULT_FPS
    length: int | None = None
    endless: bool = False
    is_video: bool = False
    label_set: LabelSet | None = None
    files: Sequence[Path] = ()
    missing: int = 0
    damage: Sequence[str] = ()
    horizontal_fov: float | None = None
    has_depth: bool = False
    with_depth: bool = False

    def __init__(self) -> None:
        self.skipped: list[Path] = []

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) of the first frame; images of a folder may differ from it."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...


class ImageFrames(FrameSource):
    """Image files in the given order.

    Args:
        labels: the label file of an image, for some or all of them.
        label_files: reads them.
    """

    def __init__(
        self,
        images: list[Path],
        labels: dict[Path, Path] | None = None,
        label_files: LabelFiles | None = None,
    ) -> None:
        super().__init__()
        self._images = images
        self._labels = labels or {}
        self._label_files = label_files
        if label_files is not None:
            self.label_set = label_files.label_set
        self.files = (*images, *self._labels.values())
        self.length = len(images)
        taken = Counter(name for path in images for name in (path.stem, path.name))
        # a.png beside a.jpg, or a.png.jpg: only the whole file name tells them apart.
        self._names = [path.stem if taken[path.stem] == 1 else path.name for path in images]

    @cached_property
    def size(self) -> tuple[int, int]:
        """See `FrameSource`.

        Raises:
            UnreadableInputError: not one image file can be read.
        """
        for frame in self:
            return frame.image.shape[0], frame.image.shape[1]
        raise UnreadableInputError(
            f"none of the {len(self._images)} image files can be read: "
            f"{why_no_image(self._images[0])}"
        )

    def __iter__(self) -> Iterator[Frame]:
        for path, name in zip(self._images, self._names, strict=True):
            image = read_image(path)
            if image is None:
                self._skip(path)
                continue
            label = None
            if self._label_files is not None and path in self._labels:
                label = self._label_files.read_of(self._labels[path], image, path)
            yield Frame(image, name, label)

    def _skip(self, path: Path) -> None:
        if path not in self.skipped:  # once, however often the source is looped
            self.skipped.append(path)
            _log.warning("skipped: %s (%d skipped)", why_no_image(path), len(self.skipped))


def open_frames(
    spec: str | Path, label_set: LabelSet | None = None, with_labels: bool = False
) -> FrameSource:
    """The frames that `spec` names.

    Args:
        spec: a video file; an image file; a folder of images (in natural order: img9 before
            img10); a folder with `images/` and, for labels of the same stem, `labels/`, numbered or
            coloured as a `label_set.yaml` in it or, of a split, beside it says; `synthetic`,
            `synthetic:dusk` or `synthetic:fog`.
        label_set: what labels are mapped onto; label files without a `label_set.yaml` are of it.
        with_labels: give the frames the labels that there are.

    Raises:
        FileNotFoundError: nothing is there.
        UnreadableInputError: it can't be opened or holds no frames, or not one label file has the
            name of an image.
        LabelSetError: nothing says what the label files hold, or they can't be mapped onto
            `label_set` (NoMappingError).
    """
    kind, _, variant = str(spec).partition(":")
    if kind == "synthetic":
        from camss_ros.street.street_frames import open_street  # drawn, not read

        return open_street(variant, label_set, with_labels)

    path = Path(spec)
    try:
        # "", of a variable of the shell that is not set, would be the working directory
        is_folder, is_file = spec != "" and path.is_dir(), path.is_file()
        if is_file:
            path.open("rb").close()  # the decoders don't tell why they can't
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL character
        raise UnreadableInputError(f"can't open {str(spec)!r}: {error}") from error
    if is_folder:
        return _open_folder(path, label_set, with_labels)
    if not is_file:
        raise FileNotFoundError(
            f"there is no '{spec}': expected a video file, an image, a folder of images or "
            "'synthetic', 'synthetic:dusk', 'synthetic:fog'"
        )
    if is_lfs_pointer(path):
        raise UnreadableInputError(f"can't open '{path}': {why_unreadable(path, '')}")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        from camss_ros.images.video_frames import VideoFrames  # FFmpeg takes a while to load

        return VideoFrames(path)
    source = ImageFrames([path])
    if read_image(path) is None:
        raise UnreadableInputError(why_no_image(path))
    return source


def open_frames_of_model(
    spec: str | Path, classes: Sequence[LabelClass], model: str
) -> FrameSource:
    """As `open_frames`, with labels that masks of the model of that name can be compared with.

    They are in their own classes where the model's become those (`mapping_onto_labels`): it may
    tell a car from a truck where they don't. Else they are in the model's, or, with a warning, left
    out where they can't be mapped onto them.
    """
    try:
        source = open_frames(spec, with_labels=True)
        mapping_onto_labels(classes, model, source.label_set)
        return source
    except LabelSetError:  # nothing says what they are, or the model is the coarser one
        pass
    try:
        return open_frames(spec, label_set_of(classes, model), with_labels=True)
    except NoMappingError as error:
        _log.warning("the masks are not compared with the labels of '%s': %s", spec, error)
        return open_frames(spec)


def _open_folder(folder: Path, label_set: LabelSet | None, with_labels: bool) -> FrameSource:
    images = _image_files(folder)
    label_folder = None
    if not images and (folder / "images").is_dir():
        images = _image_files(folder / "images")
        label_folder = folder / "labels"
    if not images:
        raise UnreadableInputError(
            f"no images in '{folder}' nor in its folder images/ "
            f"(looked for {', '.join(IMAGE_SUFFIXES)})"
        )
    if label_folder is None or not with_labels or not label_folder.is_dir():
        return ImageFrames(images)
    own = folder / "label_set.yaml"
    of_data_set = folder.absolute().parent / own.name  # of whose splits the folder may be one
    said = next((path for path in (own, of_data_set) if path.exists()), None)
    label_sets = [] if said is None else [load_label_set(said)]
    label_sets += [] if label_set is None else [label_set]
    if not label_sets:
        raise LabelSetError(
            f"'{label_folder}' has label images: name their label set, or write it to '{own}'"
        )
    return ImageFrames(images, _pair_labels(images, label_folder), LabelFiles(label_sets))


def _pair_labels(images: list[Path], folder: Path) -> dict[Path, Path]:
    """The label file of each image that has one.

    Raises UnreadableInputError where none has, or two label files have the name of one image.
    """
    files = _image_files(folder)
    by_stem = {stem(path): path for path in reversed(files)}
    for path in files:
        if by_stem[stem(path)] != path:
            raise UnreadableInputError(f"two labels of one name: '{by_stem[stem(path)]}', '{path}'")
    pairs = {image: by_stem[stem(image)] for image in images if stem(image) in by_stem}
    if not pairs:
        there = f"'{files[0]}'" if files else "nothing"
        raise UnreadableInputError(
            f"no label for any of {len(images)} images: expected '{folder / images[0].stem}.png' "
            f"for '{images[0]}', found {there}; the folder images/ alone is read without labels"
        )
    paired = set(pairs.values())
    unpaired = [path for path in files if path not in paired]
    if unpaired:
        _log.warning(
            "%d of %d labels have no image of their name, '%s' first",
            len(unpaired), len(files), unpaired[0],
        )  # fmt: skip
    return pairs


def _image_files(folder: Path) -> list[Path]:
    try:
        files = [p for p in visible(folder) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    except OSError as error:
        raise UnreadableInputError(f"can't open '{folder}': {error.strerror}") from error
    return sorted(files, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names by the numbers in them: frame2 before frame10."""
    # ASCII digits only: int() refuses some that str.isdigit() accepts.
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(p), p) if p[:1].isdigit() and p.isascii() else (1, 0, p) for p in parts]


def save_frames(
    source: FrameSource, folder: Path, count: int, on_frame: Callable[[], None] = lambda: None
) -> None:
    """Write the first `count` frames to `folder`/images/NAME.png, labels to `folder`/labels,
    for `open_frames` to read.

    Args:
        on_frame: called after each.

    Raises:
        OSError: a file can't be written.
    """
    for frame in itertools.islice(source, count):
        pictures = {"images": frame.image}
        if frame.label is not None:
            pictures["labels"] = frame.label
        for part, picture in pictures.items():
            path = folder / part / f"{frame.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(picture, ".png", cv2.IMWRITE_PNG_COMPRESSION, 1))
        on_frame()
