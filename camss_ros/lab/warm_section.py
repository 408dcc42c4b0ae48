"""Section of the page about speed: one warm step against four cold ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camss_ros.evaluation.formats import number
from camss_ros.lab.machine import describe_segmenter
from camss_ros.lab.page import markdown_table, paragraph, verdict
from camss_ros.lab.sampling_study import score_sampling
from camss_ros.lab.speed_section import Section, SpeedRun
from camss_ros.lab.warm_start import warm_rows

# Lower ones drag old labels along, higher ones leave little of the frame before.
START_TIMES = (700, 750, 800)


def _measure(run: SpeedRun) -> dict[str, Any]:
    """mIoU and flicker cold with four steps, which is to be reached, and of all else with one."""
    data, segmenter = run.labelled, run.settings.segmenter(backend="torch")
    rows = {}
    for row in (*warm_rows((4,), ()), *warm_rows((1,), START_TIMES)):

        def frame_done(done: int, key: str = row.key) -> None:
            run.progress(f"warm start, {key}: {done} of {len(data.frames)} frames")

        scores = score_sampling(
            segmenter, row.sampling, data.frames, data.label_set, clip=True, progress=frame_done
        )
        chosen = {key: scores[key] for key in ("miou", "flicker", "warm_frames")}
        rows[row.key] = {"name": row.cells[0], "steps": row.sampling.steps, **chosen}
    segmenter.close()
    return {
        "data": data.name,
        **describe_segmenter(segmenter),
        "frames": len(data.frames),
        "rows": rows,
    }


def show_warm_start(row: Mapping[str, Any]) -> str:
    """Markdown of what was measured."""
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


SECTION = Section(
    "warm start",
    "Warm start",
    "with one step, mIoU no lower than that of a cold start with four, and less flicker",
    _measure,
    show_warm_start,
    needs="clip",
)
