"""Section of the page about speed: one warm step against four cold ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from camss_ros.evaluation.evaluate import LabeledFrames
from camss_ros.evaluation.formats import number
from camss_ros.images.label_sets import LabelSet
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.page import markdown_table, paragraph, verdict
from camss_ros.lab.speed_section import LabelledData, Progress, Section, SpeedSettings
from camss_ros.lab.warm_start import WarmRow, score_clip, warm_rows

# Lower ones drag old labels along, higher ones leave little of the frame before.
START_TIMES = (700, 750, 800)
_SCORES = ("miou", "flicker", "warm_frames")


def _rows() -> list[WarmRow]:
    """Cold with four steps, which is to be reached, and everything with one."""
    return [*warm_rows((4,), ()), *warm_rows((1,), START_TIMES)]


def measure_warm_start(
    segmenter: Segmenter,
    clip: LabeledFrames,
    label_set: LabelSet,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """mIoU and flicker of each row, as JSON values. Raises as `evaluate`."""
    rows = {}
    for row in _rows():

        def frame_done(done: int, key: str = row.key) -> None:
            progress(f"warm start, {key}: {done} of {len(clip)} frames")

        scores = score_clip(segmenter, row.sampling, clip, label_set, frame_done)
        rows[row.key] = {
            "name": row.name,
            "steps": row.sampling.steps,
            **{key: scores[key] for key in _SCORES},
        }
    dtype = str(segmenter.dtype).removeprefix("torch.")
    return {"backend": segmenter.backend, "dtype": dtype, "frames": len(clip), "rows": rows}


def show_warm_start(row: Mapping[str, Any]) -> str:
    """Markdown of what `measure_warm_start` returned, which a `data` is added to."""
    four_cold, _, *warm = row["rows"].values()
    better = [each["name"] for each in warm if _is_better(each, four_cold)]
    table = markdown_table(
        ["start", "steps", "mIoU", "flicker", "mIoU, difference", "flicker, ratio", "warm frames"],
        [
            [each["name"], str(each["steps"]), number(each["miou"], 4),
             number(each["flicker"], 4), *_against(each, four_cold), str(each["warm_frames"])]
            for each in row["rows"].values()
        ],
    )  # fmt: skip
    which = f": {', '.join(better)}" if better else " at any of these starts"
    how = paragraph(f"""
        The {row["frames"]} frames of {row["data"]}, one clip, by {row["backend"]} in
        {row["dtype"]}; `camss-ros study warm-start` has more starts and steps. Difference and ratio
        are to four cold steps; nothing is allowed for chance. The promise
        {verdict(bool(better))}{which}.""")
    return f"{how}\n\n{table}"


def _against(each: Mapping[str, Any], cold: Mapping[str, Any]) -> tuple[str, str]:
    """Difference of the mIoU and ratio of the flicker; dashes where there is none."""
    known = None not in (each["miou"], cold["miou"])
    difference = f"{each['miou'] - cold['miou']:+.4f}" if known else "-"
    if each["flicker"] is None or not cold["flicker"]:
        return difference, "-"
    return difference, f"{each['flicker'] / cold['flicker']:.3f}"


def _is_better(warm: Mapping[str, Any], cold: Mapping[str, Any]) -> bool:
    """Both scores without any allowance; where one is missing nothing is shown to be better."""
    if None in (warm["miou"], cold["miou"], warm["flicker"], cold["flicker"]):
        return False
    return bool(warm["miou"] >= cold["miou"] and warm["flicker"] < cold["flicker"])


def _measure(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    segmenter = settings.segmenter(backend="torch")
    measured = measure_warm_start(segmenter, data.frames, data.label_set, progress)
    segmenter.close()
    return {"data": data.name, **measured}


SECTION = Section(
    "warm start",
    "Warm start",
    "with one step, mIoU no lower than that of a cold start with four, and less flicker",
    _measure,
    show_warm_start,
    needs="clip",
)
