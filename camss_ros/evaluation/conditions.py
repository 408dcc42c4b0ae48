"""Under which conditions frames were taken: from a table, or from what `pick` noted of them."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from camss_ros.images.image_files import IMAGE_SUFFIXES, composed

Conditions = Mapping[str, Mapping[str, str]]
"""By frame name: the value of each condition, such as {"camera": "/front/image"}."""

_NAME = "frame"
_HOURS = 6  # of a part of the day


def read_conditions(path: Path) -> Conditions:
    """The conditions of frames.

    Args:
        path: a CSV file with a column `frame` (the frame's name, with or without suffix) and one
            for each condition; or the pick.json of `pick` or the import.json of `data import`,
            whose conditions are drive, camera and, of frames with a stamp, the part of the day in
            UTC.

    Raises ValueError where it is neither, OSError.
    """
    try:
        rows = _picked(path) if path.suffix == ".json" else _table(path)
        return {_frame(name): conditions for name, conditions in rows}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, csv.Error) as error:
        raise ValueError(
            f"'{path}': expected a CSV file with a column `{_NAME}` and one for each condition, or "
            f"the pick.json of `camss-ros pick` or the import.json of `data import` ({error})"
        ) from error


def _frame(name: str) -> str:
    """Without folder and suffix; any other dot, as in a stamp, is part of the name."""
    path = Path(name)
    name = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return composed(name)  # as `open_data` names frames


def _table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:  # Excel begins it with a BOM
        for row in csv.DictReader(file, strict=True):
            if None in row or None in row.values():
                raise ValueError(f"{row.get(_NAME)} has more or fewer columns than the first line")
            yield row.pop(_NAME), {name: value for name, value in row.items() if value}


def _picked(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
    named = frames.items() if isinstance(frames, dict) else ((it["file"], it) for it in frames)
    for name, entry in named:
        conditions = {
            "drive": entry["drive"],
            "camera": entry.get("topic"),
            "day": _day(entry.get("stamp")),
        }
        yield name, {name: str(value) for name, value in conditions.items() if value}


def _day(stamp: int | None) -> str | None:
    if stamp is None:
        return None
    hour = datetime.datetime.fromtimestamp(stamp / 1e9, datetime.timezone.utc).hour
    first = hour // _HOURS * _HOURS
    return f"{first} to {first + _HOURS} h UTC"
