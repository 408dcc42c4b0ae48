"""The frames that may be picked, with their scores, in a file: a stopped run goes on from there.

A line of candidates.jsonl is a frame, with its pooled image tokens as float16 in base64; the last
line says that all are there. Of a drive, however long, one image is held at a time, and half a
kilobyte of each frame that was scored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camss_ros.datasets.picking.drives import Drive, DriveFrame
from camss_ros.datasets.picking.frame_scores import FrameScore

CANDIDATES_FILE = "candidates.jsonl"
_END = {"complete": True}

Score = Callable[[np.ndarray, "np.ndarray | None"], FrameScore]


@dataclass(frozen=True)
class Candidate:
    """A frame that may be picked.

    Attributes:
        source: index of its `Drive`.
        number, name, drive, stamp: as of `DriveFrame`.
        entropy, disagreement, flicker, tokens: as of `FrameScore`; tokens as float16.
    """

    source: int
    number: int
    name: str
    drive: str
    stamp: int | None
    entropy: float
    disagreement: float
    flicker: float | None
    tokens: np.ndarray


def score_candidates(
    drives: Sequence[Drive],
    score: Score,
    interval: float,
    path: Path,
    on_frame: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """Score the frames of the drives that are at least `interval` seconds apart.

    Of image files, which have no stamps, every one is scored. What the file at `path` has of a
    stopped run with the same arguments is not scored again.

    Args:
        drives: to look at, in order.
        score: of an image and the one before it, or None, uint8 [H, W, 3] RGB of one size.
        interval: seconds.
        path: of the file with the candidates, which is made or gone on with.
        on_frame: called after each frame of the drives, scored or not.

    Raises:
        ValueError: a drive can't be read (BagError, UnreadableInputError).
        OSError: the file can't be written.
    """
    found, complete = _kept(path)
    if complete:
        return found
    with path.open("a") as lines:
        for candidate in _scored(drives, score, interval, found[-1:], on_frame):
            tokens = base64.b64encode(candidate.tokens.tobytes()).decode()
            lines.write(json.dumps({**vars(candidate), "tokens": tokens}) + "\n")
            lines.flush()
            found.append(candidate)
        lines.write(json.dumps(_END) + "\n")
    return found


def _scored(
    drives: Sequence[Drive],
    score: Score,
    interval: float,
    done: Sequence[Candidate],
    on_frame: Callable[[], None],
) -> Iterator[Candidate]:
    """The candidates after the last one that is `done`."""
    last = done[-1] if done else None
    for source, drive in enumerate(drives):
        if last is not None and source < last.source:
            continue
        before: DriveFrame | None = None
        for frame in drive:
            on_frame()
            if last is None or source > last.source or _follows(frame, last, interval):
                candidate = _score(source, frame, before, score)
                if candidate is not None:
                    last = candidate
                    yield candidate
            before = frame


def _follows(frame: DriveFrame, last: Candidate, interval: float) -> bool:
    """Whether a frame of the same drive comes long enough after the last candidate."""
    if frame.number <= last.number:
        return False
    if frame.stamp is None or last.stamp is None:
        return True
    # a clock that was set back begins anew
    return not 0 <= frame.stamp - last.stamp < round(interval * 1e9)


def _score(
    source: int, frame: DriveFrame, before: DriveFrame | None, score: Score
) -> Candidate | None:
    image = frame.read()
    if image is None:
        return None
    # the image file before another need not be before it in time
    neighbour = before.read() if before is not None and frame.stamp is not None else None
    if neighbour is not None and neighbour.shape != image.shape:
        neighbour = None
    found = score(image, neighbour)
    return Candidate(
        source, frame.number, frame.name, frame.drive, frame.stamp,
        found.entropy, found.disagreement, found.flicker, found.tokens.astype(np.float16),
    )  # fmt: skip


def _kept(path: Path) -> tuple[list[Candidate], bool]:
    """What a run has left, and whether it had come to its end; cuts off half a line."""
    found: list[Candidate] = []
    if not path.exists():
        return found, False
    with path.open("r+b") as content:
        whole = 0
        for line in content:
            try:
                entry = json.loads(line)
                if not line.endswith(b"\n"):
                    break
                if entry == _END:
                    return found, True
                tokens = np.frombuffer(base64.b64decode(entry.pop("tokens")), np.float16)
                found.append(Candidate(**entry, tokens=tokens))
            except (ValueError, TypeError, KeyError, AttributeError):
                break
            whole += len(line)
        content.truncate(whole)
    return found, False
