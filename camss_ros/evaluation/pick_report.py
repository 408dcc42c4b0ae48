"""The report on picked frames: a contact sheet in the order of their worth, one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camss_ros.evaluation.report import render_page
from camss_ros.evaluation.result_folder import write_text
from camss_ros.images.drawing import overlay
from camss_ros.images.image_files import DataError, encode_image, read_image, why_no_image
from camss_ros.images.label_files import read_ids
from camss_ros.images.label_sets import LabelSet

_WIDTH = 240  # of a thumbnail
_QUALITY = 80


def write_pick_report(
    folder: Path,
    result: dict[str, Any],
    label_set: LabelSet,
    command: str,
    on_frame: Callable[[], None] = lambda: None,
) -> None:
    """Write `folder`/report.html on a folder of `save_picks`.

    result: what its pick.json says. `on_frame` is called after each frame. Raises DataError where
    an image or prelabel can't be read, OSError.
    """
    tiles = []
    for entry in result["frames"]:
        image_file = folder / "images" / entry["file"]
        image = read_image(image_file)
        if image is None:
            raise DataError(why_no_image(image_file))
        labels = read_ids(folder / "prelabels" / entry["file"], label_set)
        tiles.append({**entry, "reason": reason(entry), "uri": _picture(image, labels, label_set)})
        on_frame()
    page = render_page(
        "pick.html.j2",
        result=result,
        classes=label_set.classes,
        command=command,
        sections=[
            (title, [tile for tile in tiles if tile["why"] == why])
            for why, title in (("worth", "In order of worth"), ("random", "At random"))
        ],
    )
    write_text(folder / "report.html", page)


def reason(entry: dict[str, Any]) -> str:
    """Why a frame was taken, in words."""
    said = [f"entropy {entry['entropy']:.2f}", f"disagreement {100 * entry['disagreement']:.0f} %"]
    if entry["flicker"] is not None:
        said.append(f"flicker {100 * entry['flicker']:.0f} %")
    if entry["distance"] is not None:
        said.append(f"{entry['distance']:.2f} from the nearest picked")
    return ", ".join(said)


def _picture(image: np.ndarray, labels: np.ndarray, label_set: LabelSet) -> str:
    """The frame above its prelabels, small."""
    size = (_WIDTH, max(1, round(image.shape[0] * _WIDTH / image.shape[1])))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    both = np.vstack([small, overlay(small, labels, label_set.classes)])
    data = encode_image(both, ".jpg", cv2.IMWRITE_JPEG_QUALITY, _QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
