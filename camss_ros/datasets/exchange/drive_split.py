"""Which frames are for training and which for validation: whole drives, never neighbours.

Neighbouring frames look alike: with one of them in training, a score on the other says little of
another drive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from camss_ros.images.frames import natural_key
from camss_ros.images.image_files import DataError

SHARE = 0.2  # of the frames, for validation
_GAP = 10 * 10**9  # ns between training and validation within a drive, at most
_GAP_SHARE = 0.1  # of the drive's duration, at most


@dataclass(frozen=True)
class FrameOfDrive:
    """A frame: `name`, its `drive`, and its `stamp` in ns or None."""

    name: str
    drive: str
    stamp: int | None


@dataclass(frozen=True)
class Split:
    """Names of frames. `left_out`: too near to those for validation."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def split_by_drive(frames: Sequence[FrameOfDrive], wanted: Sequence[str] = ()) -> Split:
    """Split frames by drive.

    Args:
        frames: with their drives.
        wanted: drives for validation; none: as many whole drives as make up about a fifth of the
            frames. Of one drive alone its last fifth, and what lies right before it is left out.

    Raises:
        DataError: no such drive is there, or nothing is left for one of the two.
    """
    sizes = Counter(frame.drive for frame in frames)
    if unknown := [drive for drive in wanted if drive not in sizes]:
        raise DataError(f"no drive {unknown[0]!r}: there are {', '.join(sorted(sizes))}")
    if not wanted and len(sizes) == 1:
        return _within_drive(frames)
    chosen = set(wanted) or _smallest_share(sizes)
    train = tuple(frame.name for frame in frames if frame.drive not in chosen)
    val = tuple(frame.name for frame in frames if frame.drive in chosen)
    if not train:
        raise DataError(f"all drives are for validation: {', '.join(sorted(chosen))}")
    return Split(train, val)


def _smallest_share(sizes: Counter[str]) -> set[str]:
    """Drives with about `SHARE` of the frames: the larger ones that fit, else the smallest."""
    room = SHARE * sum(sizes.values()) * 1.25
    chosen: set[str] = set()
    for drive, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if size <= room:
            chosen.add(drive)
            room -= size
    return chosen or {min(sizes, key=lambda drive: (sizes[drive], drive))}


def _within_drive(frames: Sequence[FrameOfDrive]) -> Split:
    # a tool exports them in any order
    ordered = sorted(frames, key=lambda frame: (frame.stamp or 0, natural_key(frame.name)))
    count = max(1, round(SHARE * len(ordered)))
    before, val = ordered[:-count], ordered[-count:]
    stamps = [frame.stamp for frame in ordered if frame.stamp is not None]
    if len(stamps) == len(ordered):
        gap = min(_GAP, _GAP_SHARE * (stamps[-1] - stamps[0]))
        left_out = [
            it.name for it, at in zip(before, stamps, strict=False) if at > stamps[-count] - gap
        ]
    else:
        left_out = [frame.name for frame in before[-1:]]
    train = tuple(frame.name for frame in before if frame.name not in left_out)
    if not train:
        raise DataError(
            f"{len(frames)} frames of one drive, {frames[0].drive!r}, can't be split into training "
            "and validation: label more of it, or another drive"
        )
    return Split(train, tuple(frame.name for frame in val), tuple(left_out))
