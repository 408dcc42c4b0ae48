"""The folder of picked frames, for people and for labelling tools.

    output/images/NAME.png      the frames
    output/prelabels/NAME.png   the network's masks, class ids, 255 is void
    output/label_set.yaml       of these
    output/pick.json            what was picked, why, and where it came from
    output/candidates.jsonl     all frames that were looked at

A run that was stopped goes on where it was: a mask that exists is a frame that is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camss_ros.atomic_files import replacing
from camss_ros.datasets.picking.candidates import Candidate
from camss_ros.datasets.picking.drives import Drive
from camss_ros.datasets.picking.selection import Pick
from camss_ros.images.frames import UnreadableInputError
from camss_ros.images.image_files import DataError, encode_image

PICK_FILE = "pick.json"
FOLDERS = ("images", "prelabels")

Label = Callable[[np.ndarray], np.ndarray]
"""Image uint8 [H, W, 3] RGB -> its mask uint8 [H, W], class ids and 255 for void."""


def save_picks(
    drives: Sequence[Drive],
    candidates: Sequence[Candidate],
    picks: Sequence[Pick],
    label: Label,
    output: Path,
    on_frame: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Write images and prelabels of the picks.

    Args:
        drives, candidates: what was picked from.
        picks: of `select`.
        label: makes the prelabel of an image.
        output: folder; what is there already is kept.
        on_frame: called after each frame.

    Returns:
        The entries of pick.json, in the order of the picks.

    Raises:
        UnreadableInputError: nothing was picked, or a frame is gone.
        DataError: two frames have one name.
        OSError: a file can't be written.
    """
    if not picks:
        sources = ", ".join(f"'{drive.source}'" for drive in drives)
        raise UnreadableInputError(f"not one frame can be read of {sources}")
    chosen = {(it.source, it.number): it for it in (candidates[p.index] for p in picks)}
    twice = [name for name, n in Counter(it.name for it in chosen.values()).items() if n > 1]
    if twice:
        raise DataError(f"two frames have the name {twice[0]}: give their sources other names")
    for source, drive in enumerate(drives):
        missing = set()
        for it in chosen.values():
            if it.source == source and all(path.exists() for path in _files(output, it.name)):
                on_frame()
            elif it.source == source:
                missing.add(it.number)
        for frame in drive if missing else ():
            if frame.number not in missing:
                continue
            image = frame.read()
            if image is None:
                break
            for path, pixels in zip(_files(output, frame.name), (image, label(image)), strict=True):
                with replacing(path) as partial:
                    partial.write_bytes(encode_image(pixels, ".png"))
            missing.remove(frame.number)
            on_frame()
            if not missing:
                break
        if missing:
            raise UnreadableInputError(
                f"frame {min(missing)} of '{drive.source}' is gone since it was first read"
            )
    return [_entry(pick, candidates[pick.index], drives) for pick in picks]


def _entry(pick: Pick, candidate: Candidate, drives: Sequence[Drive]) -> dict[str, Any]:
    drive = drives[candidate.source]
    return {
        "file": f"{candidate.name}.png",
        "why": pick.why,
        "score": pick.score,
        "uncertainty": pick.uncertainty,
        "distance": pick.distance,
        "entropy": candidate.entropy,
        "disagreement": candidate.disagreement,
        "flicker": candidate.flicker,
        "source": str(drive.source),
        "topic": drive.topic,
        "stamp": candidate.stamp,
        "number": candidate.number,
        "drive": candidate.drive,
    }


def _files(output: Path, name: str) -> tuple[Path, Path]:
    image, label = (output / part / f"{name}.png" for part in FOLDERS)
    return image, label
